"""A checkpoint in a network for larger images: positions by hand, momentum copies, and what does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import mplug2
from mplug2.network import Network
from mplug2.weights.resolution import load_at_resolution
from mplug2.weights.store import MOMENTUM, WEIGHTS, load_weights, save_weights
from registry import UserError, parse_spec

SPEC = """
inputs: {{image: image B 3 H W}}
modules:
  vision: {{use: image_vit, width: 8, depth: {depth}, heads: 2, patch: 8, size: {size}}}
  head: {{use: class_head, width: 8, classes: 2, pool: mean}}
flow:
  vision_hidden: vision(image)
  logits: head(vision_hidden)
  averaged: identity(ema(logits))
goals: {{predict: {{label: averaged}}}}
momentum: {{decay: 0.9}}
"""
POSITION = "vision.body.stem.position"


def network(size: int, depth: int = 1) -> Network:
    torch.manual_seed(size)
    return mplug2.compose(parse_spec(SPEC.format(size=size, depth=depth), "net.yaml"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network for two by two patches whose positions are 0, 1, 2 and 3 after the class token."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("run")
    net = network(16)
    with torch.no_grad():
        numbers = torch.tensor([7.0, 0.0, 1.0, 2.0, 3.0])
        net.get_parameter(POSITION).copy_(numbers[None, :, None].expand(1, 5, 8))
    save_weights(net, folder / WEIGHTS)
    copies = {name: value + 1 for name, value in net.state_dict().items()}
    expected = net.ema_state_dict()
    save_file({name: copies[name] for name in expected}, folder / MOMENTUM)
    return folder


def test_positions_are_interpolated_by_hand(checkpoint: Path) -> None:
    net = network(32)
    load_at_resolution(net, checkpoint)
    position = net.get_parameter(POSITION)[0, :, 0]
    # Between the middles of two patches a quarter and three quarters; outside them, the nearest patch.
    steps = torch.tensor([0.0, 0.25, 0.75, 1.0])
    expected = 2 * steps[:, None] + steps[None, :]
    assert position[0] == 7.0
    torch.testing.assert_close(position[1:].unflatten(0, (4, 4)), expected)
    copy = net.ema_state_dict()[POSITION][0, :, 0]
    torch.testing.assert_close(copy[1:].unflatten(0, (4, 4)), expected + 1)
    # All other weights are those of the checkpoint.
    smaller = network(16)
    load_weights(smaller, checkpoint)
    weights = net.state_dict()
    for name, value in smaller.state_dict().items():
        if name != POSITION:
            torch.testing.assert_close(weights[name], value, rtol=0, atol=0)


def test_the_same_resolution_changes_nothing(checkpoint: Path) -> None:
    net = network(16)
    load_at_resolution(net, checkpoint)
    assert net.get_parameter(POSITION)[0, :, 0].tolist() == [7.0, 0.0, 1.0, 2.0, 3.0]


def test_a_deeper_network_is_refused(checkpoint: Path) -> None:
    with pytest.raises(
        UserError, match="must hold all weights of this network|misfit|not"
    ):
        load_at_resolution(network(32, depth=2), checkpoint)
