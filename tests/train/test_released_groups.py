"""The released optimiser groups: the same parameters decay, at the same rates, under the released specs."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

import mplug2
from mplug2.train.optim import parameter_groups
from mplug2.weights.sources import map_keys
from registry import parse_spec, read_spec
from tools.parity.recipes.mplug2 import fixture_spec


@pytest.mark.parametrize("name", ["vqa_v64_h32_distill_stride1", "caption_v64_h32"])
def test_groups_are_the_released_ones(name: str, shared: Path) -> None:
    parity = shared / "reference/parity/mplug2"
    recorded = json.loads((parity / "data/optimizer_groups.json").read_text())[name]
    meta = json.loads((parity / name / "meta.json").read_text())
    net = mplug2.compose(parse_spec(fixture_spec(meta)), device="meta", initial=False)
    settings = read_spec("configs_video/VideoQA_msrvtt_large.yaml").train
    ours = {}
    names = {id(p): n for n, p in net.named_parameters()}
    for group in parameter_groups(net, settings):
        for parameter in group["params"]:
            ours[names[id(parameter)]] = (group["lr"], group["weight_decay"])
    assert set(ours) == set(names.values())

    with safe_open(str(parity / name / "state_dict.safetensors"), "pt") as stored:
        moves = map_keys(net, "mplug2", stored.keys())
    compared = 0
    for group in recorded["groups"]:
        for official in group["params"]:
            if official in moves:
                assert ours[moves[official]] == (group["lr"], group["weight_decay"]), (
                    official
                )
                compared += 1
    assert compared == len(ours)
