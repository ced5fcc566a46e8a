"""Tensors that do not have a network's shape: which are fitted, and which are refused."""

from __future__ import annotations

import pytest
import torch

import mplug2
from mplug2.weights.sources import load_tensors
from mplug2.weights.transforms import DEPTHWISE
from registry import UserError, parse_spec

SPEC = """
inputs: {video: frames B 3 T H W}
modules: {vision: {use: video_vit, width: 16, heads: 1, depth: 1, patch: 4, frames: 2, size: 8}}
flow: {patches: vision(video)}
goals: {predict: {patches: patches}}
"""
KERNEL = "visual_encoder.visual.transformer.resblocks.0.lmhra1.conv.weight"


def test_a_depthwise_kernel_is_turned() -> None:
    value = torch.arange(24.0).reshape(8, 1, 3, 1, 1)
    (fitted,) = DEPTHWISE.read([value], {"count": 1})
    assert torch.equal(fitted, value.reshape(8, 3).T)
    (back,) = DEPTHWISE.write([fitted], {"count": 1})
    assert torch.equal(back, value)


@pytest.mark.parametrize("shape", [(24, 1, 1, 1, 1), (1, 24, 1, 1, 1), (3, 1, 8, 1, 1)])
def test_a_kernel_of_other_channels_is_refused(shape: tuple[int, ...]) -> None:
    net = mplug2.compose(parse_spec(SPEC, "small.yaml"), initial=False)
    with pytest.raises(UserError) as error:
        load_tensors(net, "mplug2", {KERNEL: torch.zeros(shape)})
    assert f"file has {list(shape)}, network has [3, 8]" in str(error.value)
