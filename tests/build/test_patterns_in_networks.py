"""Patterns of a composed network: transposed ties through training, files, averages and ejected code."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from ejected import assert_same_network as same
from ejected import ejected_network as written
from safetensors.torch import save_file

import mplug2
from modules.streams import Tokens
from mplug2.build.eject import eject
from mplug2.weights.store import load_weights, save_weights
from registry import SpecError, parse_spec, write_spec

SPEC = """
inputs: {x: tokens B L 6, y: tokens B L 6}
modules:
  up:   {use: project, width_in: 6, width: 4, dropout: 0.0}
  down: {use: project, width_in: 4, width: 6, dropout: 0.0}
  head: {use: class_head, width: 6, classes: 3, dropout: 0.0}
flow:
  hidden: up(x)
  back:   down(hidden)
  logits: head(back)
  loss:   cross_entropy(logits, target=label)
goals: {train: {loss: loss}, predict: {logits: logits}}
""".replace("y: tokens B L 6", "label: labels B")
TIE = "tie: {down.linear.weight: up.linear.weight.T}\n"


def build(text: str) -> Any:
    torch.manual_seed(0)
    return mplug2.compose(parse_spec(text, "small.yaml"))


def batch() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    return {
        "x": Tokens(torch.randn(2, 3, 6, generator=generator)),
        "label": torch.tensor([0, 2]),
    }


def test_a_transposed_tie_is_one_parameter() -> None:
    net = build(SPEC + TIE)
    assert "down.linear.weight" not in dict(net.named_parameters())
    assert torch.equal(
        net.get_module("down").linear.weight, net.get_module("up").linear.weight.T
    )
    net(batch())["loss"].backward()
    both = net.get_module("up").linear.weight.grad.clone()
    alone = build(SPEC)
    with torch.no_grad():
        alone.get_module("down").linear.weight.copy_(
            alone.get_module("up").linear.weight.T
        )
    alone(batch())["loss"].backward()
    down = alone.get_module("down").linear.weight.grad
    torch.testing.assert_close(both, alone.get_module("up").linear.weight.grad + down.T)


def test_a_transposed_tie_is_written_saved_and_ejected(tmp_path: Path) -> None:
    spec = parse_spec(SPEC + TIE, "small.yaml")
    assert parse_spec(write_spec(spec), "small.yaml").tie == {
        "down.linear.weight": "up.linear.weight.T"
    }
    same(spec, written(spec, tmp_path))
    net = build(SPEC + TIE)
    save_weights(net, tmp_path / "net.safetensors")
    torch.manual_seed(5)
    other = mplug2.compose(spec)
    load_weights(other, tmp_path / "net.safetensors")
    assert torch.equal(
        other.get_module("down").linear.weight, net.get_module("down").linear.weight
    )


def test_a_file_may_hold_the_transposed_weight(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = build(SPEC).state_dict()
    state["down.linear.weight"] = state["up.linear.weight"].T.contiguous()
    save_file(
        {name: value.clone() for name, value in state.items()},
        tmp_path / "untied.safetensors",
    )
    init = f"init: {{'*': 'checkpoint:{tmp_path}/untied.safetensors'}}\n"
    torch.manual_seed(7)
    with caplog.at_level(logging.INFO, "mplug2"):
        net = mplug2.compose(parse_spec(SPEC + TIE + init, "small.yaml"))
    assert torch.equal(net.get_module("up").linear.weight, state["up.linear.weight"])
    assert "untied.safetensors: 12 loaded" in caplog.text


def test_an_average_of_a_transposed_tie_follows_its_owner() -> None:
    # Only `down` needs an average here, and the average of its weight is that of `up`.
    text = SPEC.replace("x: tokens B L 6,", "x: tokens B L 6, small: tokens B L 4,")
    text = text.replace(
        "down(hidden)\n", "down(small)\n  joined: concat(back, ema(back))\n"
    )
    text = text.replace("head(back)", "head(joined)").replace(
        "logits: logits}", "hidden: hidden}"
    )
    net = build(text + TIE + "momentum: {decay: 0.5}\n")
    before = net.ema.modules["down"].linear.weight.clone()
    with torch.no_grad():
        net.get_module("up").linear.weight.add_(1.0)
    net.update_ema()
    torch.testing.assert_close(net.ema.modules["down"].linear.weight, before + 0.5)
    inputs = {"small": Tokens(torch.ones(2, 3, 4)), "label": torch.tensor([0, 2])}
    assert torch.isfinite(net(inputs)["loss"])


@pytest.mark.parametrize(
    ("tie", "message"),
    [
        (
            "{down.linear.weight: up.linear.weight}",
            r"small.yaml:\d+:7: .* write `up.linear.weight.T` for the",
        ),
        (
            "{down.norm.weight: up.norm.weight.T}",
            "only a matrix can be transposed, but up.norm.weight is",
        ),
        ("{head.dense.weight: up.linear.weight.T}", "head.dense.weight"),
        (
            "{down.linear.wieght: up.linear.weight.T}",
            "did you mean 'down.linear.weight'",
        ),
        ("{down.linear.weight: up.linear.wieght.T}", "did you mean 'up.linear.weight'"),
    ],
)
def test_what_cannot_be_tied(tie: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build(f"{SPEC}tie: {tie}\n")


def test_frozen_modules_are_ejected_in_eval_mode(tmp_path: Path) -> None:
    text = SPEC.replace("width: 4, dropout: 0.0", "width: 4, dropout: 0.5")
    text += "freeze: {up: true, down.norm.weight: true, head: {until: 20}}\n"
    spec = parse_spec(text, "small.yaml")
    assert parse_spec(write_spec(spec), "small.yaml").freeze == spec.freeze
    net: Any = written(spec, tmp_path)
    same(spec, net)
    net.train()
    assert not net.up.training
    assert net.down.training
    assert "until iteration 20: head" in eject(spec)
