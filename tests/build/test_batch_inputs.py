"""Inputs of another size or class than the network was built for are refused before it computes anything."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import mplug2
from registry import UserError, parse_spec

SPEC = """
inputs: {video: frames V 3 T H W}
modules:
  vision: {use: video_vit, width: 8, depth: 1, heads: 1, patch: 8, frames: 4, size: 16}
flow: {seen: vision(video)}
goals: {predict: {seen: seen}}
"""


@pytest.mark.parametrize(
    "shape", [(1, 3, 2, 16, 16), (1, 3, 0, 16, 16), (1, 1, 4, 16, 16), (3, 4, 16, 16)]
)
def test_frames_of_another_size_are_refused(shape: tuple[int, ...]) -> None:
    net = mplug2.compose(parse_spec(SPEC, "small.yaml")).eval()
    with pytest.raises(
        UserError, match="input 'video' must be 'frames V 3 4 16 16', but the batch has"
    ):
        net({"video": torch.rand(*shape)}, goal="predict")
    assert (
        net({"video": torch.rand(2, 3, 4, 16, 16)}, goal="predict")["seen"] is not None
    )


def test_an_input_of_another_class_is_refused() -> None:
    net = mplug2.compose(parse_spec(SPEC, "small.yaml"))
    with pytest.raises(
        UserError,
        match="input 'video' must be a Tensor for 'frames V 3 4 16 16'.*ndarray",
    ):
        net({"video": np.zeros((1, 3, 4, 16, 16))}, goal="predict")
