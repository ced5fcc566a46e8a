"""Tensors that do not have a network's shape: which are fitted, and which are refused."""

from __future__ import annotations

import pytest
import torch

from mplug2.weights.shape_fixes import fit


def test_a_depthwise_kernel_is_turned() -> None:
    value = torch.arange(24.0).reshape(8, 1, 3, 1, 1)
    fitted, note = fit("vision.blocks.0.before.kernel", value, torch.zeros(3, 8))
    assert fitted is not None and note == ""
    assert torch.equal(fitted, value.reshape(8, 3).T)


@pytest.mark.parametrize("shape", [(24, 1, 1, 1, 1), (1, 24, 1, 1, 1), (3, 1, 8, 1, 1)])
def test_a_kernel_of_other_channels_is_refused(shape: tuple[int, ...]) -> None:
    fitted, reason = fit("vision.blocks.0.before.kernel", torch.zeros(shape), torch.zeros(3, 8))
    assert fitted is None
    assert reason == f"file has {list(shape)}, network has [3, 8]"
