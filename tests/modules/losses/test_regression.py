"""The squared error: sum and count, so that micro-batches of any size give the mean of the batch."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from modules.losses.regression import element_count, mse_loss


def test_sum_and_count_give_the_mean_of_the_batch() -> None:
    torch.manual_seed(0)
    values, target = torch.randn(5, 3, requires_grad=True), torch.randn(5, 3)
    expected = F.mse_loss(values, target)
    torch.testing.assert_close(mse_loss(values, target).mean(), expected)
    parts = [mse_loss(values[:1], target[:1]), mse_loss(values[1:], target[1:])]
    total = sum(part.total for part in parts) / sum(part.count for part in parts)
    torch.testing.assert_close(total, expected)
    assert element_count(target).item() == 15
    (gradient,) = torch.autograd.grad(mse_loss(values, target).mean(), values)
    torch.testing.assert_close(gradient, 2 * (values - target).detach() / 15)


def test_no_elements_and_half_precision() -> None:
    assert mse_loss(torch.zeros(0, 4), torch.zeros(0, 4)).mean().item() == 0
    half = torch.ones(2, dtype=torch.bfloat16)
    assert mse_loss(half, torch.zeros(2)).total.dtype == torch.float32


def test_other_shapes() -> None:
    with pytest.raises(
        ValueError, match=r"target must have the shape \[2, 3\], but has \[2\]"
    ):
        mse_loss(torch.zeros(2, 3), torch.zeros(2))
