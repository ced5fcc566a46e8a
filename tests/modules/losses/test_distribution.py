"""Losses against distributions: torch's own numbers, and counts that make micro-batches add up."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from modules.losses.distribution import binary_cross_entropy, kl_loss


def test_divergence_by_rows_and_by_elements() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(4, 5), torch.softmax(torch.randn(4, 5), dim=1)
    expected = F.kl_div(logits.log_softmax(dim=1), target, reduction="batchmean")
    torch.testing.assert_close(kl_loss(logits, target).mean(), expected)
    by_element = kl_loss(logits, target, reduction="per_element")
    torch.testing.assert_close(by_element.mean(), expected / 5)
    assert kl_loss(target.log(), target).mean().item() == pytest.approx(0, abs=1e-6)


def test_binary_losses_are_added_over_classes() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(4, 5), torch.rand(4, 5)
    expected = F.binary_cross_entropy_with_logits(logits, target) * 5
    torch.testing.assert_close(binary_cross_entropy(logits, target).mean(), expected)
    parts = [
        binary_cross_entropy(logits[:1], target[:1]),
        binary_cross_entropy(logits[1:], target[1:]),
    ]
    total = sum(part.total for part in parts) / sum(part.count for part in parts)
    torch.testing.assert_close(total, expected)
