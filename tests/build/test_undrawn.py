"""A network for a checkpoint is built without drawing weights, and everything else is as in a drawn one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_specs import ROOT

import mplug2
from mplug2.weights.store import load_weights, save_weights
from registry import UserError, read_spec

TINY = ROOT / "configs_video" / "VideoQA_shapes_tiny.yaml"


def test_building_draws_no_random_numbers() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    mplug2.compose(read_spec(TINY), initial=False, drawn=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_that_are_not_drawn_must_be_loaded() -> None:
    with pytest.raises(UserError, match="pass initial=False with drawn=False"):
        mplug2.compose(read_spec(TINY), drawn=False)


SPECS = [
    "configs_video/VideoQA_shapes_tiny",
    "configs_video/VideoRetrieval_shapes_tiny",
]


@pytest.mark.parametrize("name", SPECS)
def test_a_loaded_network_has_the_weights_and_buffers_of_the_first(
    name: str, tmp_path: Path
) -> None:
    spec = read_spec(ROOT / f"{name}.yaml")
    net = mplug2.compose(spec, initial=False)
    save_weights(net, tmp_path / "weights.safetensors")
    loaded = mplug2.compose(spec, initial=False, drawn=False)
    load_weights(loaded, tmp_path / "weights.safetensors")
    for path, value in net.state_dict().items():
        torch.testing.assert_close(
            loaded.state_dict()[path], value, rtol=0, atol=0, msg=path
        )
    for (path, value), other in zip(net.named_buffers(), loaded.buffers(), strict=True):
        if path not in net.state_dict():  # not stored: it must be built, not drawn
            torch.testing.assert_close(other, value, rtol=0, atol=0, msg=path)
