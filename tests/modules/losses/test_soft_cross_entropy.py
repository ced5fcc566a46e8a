"""Cross-entropy with soft targets, compared with numbers computed by hand and with torch."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from modules.losses.distribution import num_rows, soft_cross_entropy


def test_soft_targets_by_hand() -> None:
    # softmax of (log 1, log 3) is (1/4, 3/4)
    logits = torch.tensor([[0.0, math.log(3)], [math.log(3), 0.0]])
    target = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    expected = (math.log(4) + 0.25 * math.log(4 / 3) + 0.75 * math.log(4)) / 2
    assert soft_cross_entropy(logits, target).mean().item() == pytest.approx(expected)
    assert num_rows(target).item() == 2


def test_smoothing_by_hand_and_as_in_torch() -> None:
    logits = torch.tensor([[0.0, math.log(3)]])
    # (1 - 0.2) (0, 1) + 0.2 / 2 = (0.1, 0.9)
    smoothed = (
        soft_cross_entropy(logits, torch.tensor([[0.0, 1.0]]), smoothing=0.2)
        .mean()
        .item()
    )
    assert smoothed == pytest.approx(0.1 * math.log(4) + 0.9 * math.log(4 / 3))
    torch.manual_seed(0)
    scores, classes = torch.randn(6, 5), torch.randint(5, (6,))
    torch.testing.assert_close(
        soft_cross_entropy(scores, F.one_hot(classes, 5).float(), smoothing=0.1).mean(),
        F.cross_entropy(scores, classes, label_smoothing=0.1),
    )


def test_parts_of_a_batch_add_up() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(5, 3), torch.rand(5, 3)
    parts = [
        soft_cross_entropy(logits[:1], target[:1]),
        soft_cross_entropy(logits[1:], target[1:]),
    ]
    total = sum(part.total for part in parts) / sum(part.count for part in parts)
    torch.testing.assert_close(total, soft_cross_entropy(logits, target).mean())
    assert soft_cross_entropy(logits.bfloat16(), target).total.dtype == torch.float32
