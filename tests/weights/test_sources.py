"""Sources of first weights: those that a check knows are those that can be loaded."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import mplug2
from registry import KEY_MAPS, Registries, Registry, UserError, parse_spec
from registry.checks.initial import check_init, source_form

SPEC = """
inputs: {a: tokens B N 4, b: tokens B M 4, media_id: index B}
modules:
  left: {use: feature_head, width_in: 4, width: 3}
  right: {use: feature_head, width_in: 4, width: 3}
  bank: {use: feature_queue, width: 3, size: 6}
  compare: {use: contrastive}
flow:
  v: left(a)
  t: right(b)
  stored: bank(ema(v), ema(t), media_id)
  itc: compare(v, t, media_id, stored.vision, stored.text, stored.group)
goals: {train: {loss: itc.loss}}
momentum: {decay: 0.9}
"""


def test_every_source_that_a_check_knows_can_be_loaded() -> None:
    """The check reads the registry, and a key map of another package is known without a change here."""
    forms = {name: source_form(name) for name in KEY_MAPS.names()}
    assert forms == {
        "bert": "NAME_OR_FOLDER",
        "clip": "NAME_OR_FILE",
        "mplug": "FILE",
        "mplug2": "FILE",
        "beit": "FILE",
        "timix": "FILE",
        "uniter": "FILE",
        "vlmo": "FILE",
        "checkpoint": "CHECKPOINT",
    }
    spec = parse_spec(f"{SPEC}init: {{'*': 'other:file'}}\n", "small.yaml")
    assert (
        "init source must be one of 'beit:FILE', 'bert:NAME_OR_FOLDER'"
        in check_init(spec)[0].message
    )
    others = Registry("key map")
    others.register("other", "mplug2.weights.families.mplug:KEY_MAP")
    assert check_init(spec, Registries(key_maps=others)) == []


def written(tmp_path: Path, *without: str) -> tuple[mplug2.Network, str]:
    """A network whose queue is filled, and its weights in a file, without those of some modules."""
    net = mplug2.compose(parse_spec(SPEC, "small.yaml"))
    net.get_buffer("bank.group").fill_(7)
    net.get_buffer("bank.pointer").fill_(4)
    state = {
        name: value
        for name, value in net.state_dict().items()
        if name.split(".")[0] not in without
    }
    save_file(state, tmp_path / "own.safetensors")
    return net, f"{SPEC}init: {{'*': 'checkpoint:{tmp_path}/own.safetensors'}}\n"


def test_a_queue_begins_anew_with_other_weights(tmp_path: Path) -> None:
    old, text = written(tmp_path)
    new = mplug2.compose(parse_spec(text, "small.yaml"))
    assert torch.equal(
        new.get_parameter("left.linear.weight"), old.get_parameter("left.linear.weight")
    )
    assert new.get_buffer("bank.group").tolist() == [-100] * 6
    assert new.get_buffer("bank.pointer").tolist() == [0]


def test_momentum_copies_that_no_file_gives_begin_as_the_loaded_weights(
    tmp_path: Path,
) -> None:
    old, text = written(tmp_path)
    shadow = mplug2.compose(parse_spec(text, "small.yaml")).ema_state_dict()
    assert shadow
    for name, value in shadow.items():
        assert torch.equal(value, old.state_dict()[name]), name


def test_a_module_that_gets_nothing_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, text = written(tmp_path, "right", "bank")
    with caplog.at_level(logging.WARNING, "mplug2"):
        mplug2.compose(parse_spec(text, "small.yaml"))
    (warning,) = caplog.messages
    assert (
        f"checkpoint:{tmp_path}/own.safetensors holds nothing for right (15 parameters)"
        in warning
    )


def test_a_module_takes_the_weights_of_another_name(tmp_path: Path) -> None:
    old, _ = written(tmp_path)
    source = f"checkpoint:{tmp_path}/own.safetensors"
    text = f"{SPEC}init: {{left: '{source}#right', right: '{source}'}}\n"
    with torch.random.fork_rng():
        new = mplug2.compose(parse_spec(text, "small.yaml"))
    for name in ("left", "right"):
        for key, value in new.get_module(name).state_dict().items():
            assert torch.equal(value, old.get_module("right").state_dict()[key])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "#rigth",
            r"small.yaml:\d+:14: .*has no module 'rigth'. Did you mean '#right'\? Its modules: .*left",
        ),
        ("#", r"small.yaml:\d+:14: a name of a module must follow '#'"),
    ],
)
def test_a_name_that_the_file_lacks_is_located(
    name: str, message: str, tmp_path: Path
) -> None:
    written(tmp_path)
    text = f"{SPEC}init: {{left: 'checkpoint:{tmp_path}/own.safetensors{name}'}}\n"
    with pytest.raises(UserError, match=message):
        mplug2.compose(parse_spec(text, "small.yaml"))


def test_released_weights_have_no_names_of_modules() -> None:
    spec = parse_spec(f"{SPEC}init: {{left: 'clip:ViT-B-16#left'}}\n", "small.yaml")
    (problem,) = check_init(spec)
    assert problem.message == "'clip:' cannot take one module by name (got '#left')"
    assert problem.hint == "write `clip:ViT-B-16`"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (
            torch.full((3, 4), torch.inf),
            "must be finite, but 12 of 12 values are NaN or infinite",
        ),
        (
            torch.ones(3, 4, dtype=torch.int32),
            "must hold floating-point numbers (got int32)",
        ),
    ],
)
def test_weights_that_no_training_wrote_are_named_and_refused(
    tmp_path: Path, value: torch.Tensor, reason: str
) -> None:
    net, text = written(tmp_path)
    save_file(
        {**net.state_dict(), "left.linear.weight": value}, tmp_path / "own.safetensors"
    )
    with pytest.raises(UserError) as caught:
        mplug2.compose(parse_spec(text, "small.yaml"))
    assert "left.linear.weight" in str(caught.value)
    assert reason in str(caught.value)
