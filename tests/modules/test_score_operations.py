"""Softmax, standardization and mixed rows: values, gradients, and options out of range."""

from __future__ import annotations

import math

import pytest
import torch

from modules.scores import best_class, log_softmax, mix_rows, softmax, standardize


def test_softmax_of_rows() -> None:
    scores = torch.tensor([[0.0, 0.0], [0.0, 2.0]], requires_grad=True)
    rows = softmax(scores, temperature=2.0)
    torch.testing.assert_close(rows.sum(dim=1), torch.ones(2))
    assert rows[1, 1].item() == pytest.approx(1 / (1 + math.exp(-1)), rel=1e-5)
    rows[1, 1].backward()
    assert scores.grad is not None
    assert scores.grad[1, 1] > 0
    assert softmax(scores.bfloat16()).dtype == torch.float32
    with pytest.raises(ValueError, match="temperature must be above 0, but is 0.0"):
        softmax(scores, temperature=0.0)


def test_log_probabilities_of_each_position() -> None:
    logits = torch.tensor([[[0.0, 0.0], [0.0, math.log(3)]]])
    scores = log_softmax(logits)
    torch.testing.assert_close(scores[0, 0], torch.full((2,), math.log(0.5)))
    torch.testing.assert_close(scores[0, 1].exp(), torch.tensor([0.25, 0.75]))
    assert log_softmax(logits.bfloat16()).dtype == torch.float32


def test_standardized_rows_have_mean_0_and_deviation_1() -> None:
    torch.manual_seed(0)
    scores = torch.randn(3, 5, 2, requires_grad=True)
    rows = standardize(scores, channel=1)
    torch.testing.assert_close(rows.mean(dim=1), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(rows.std(dim=1), torch.ones(3))
    rows[0, 0].backward()
    assert scores.grad is not None
    assert scores.grad[0, :, 1].abs().min() > 0
    assert scores.grad[..., 0].abs().max() == 0
    with pytest.raises(ValueError, match="channel must be 0 to 1, but is 2"):
        standardize(scores, channel=2)


def test_a_row_of_equal_values_stays_finite() -> None:
    assert standardize(torch.full((1, 4, 1), 3.0)).tolist() == [[0.0, 0.0, 0.0, 0.0]]
    assert standardize(torch.full((1, 1, 1), 3.0)).tolist() == [[0.0]]


def test_rows_are_mixed_with_their_partners() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    share = torch.tensor([0.75, 1.0], requires_grad=True)
    mixed = mix_rows(rows, torch.tensor([1, 0]), share)
    assert mixed.tolist() == [[0.75, 0.25], [0.0, 1.0]]
    mixed[0, 0].backward()
    assert rows.grad is not None
    assert rows.grad.tolist() == [[0.75, 0.0], [0.25, 0.0]]
    assert share.grad is not None
    assert share.grad.tolist() == [1.0, 0.0]


def test_the_best_class_without_the_background() -> None:
    scores = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.2, 0.7], [0.5, 0.3, 0.2]])
    assert best_class(scores).tolist() == [0, 2, 0]
    assert best_class(scores, first=1).tolist() == [1, 2, 1]
    with pytest.raises(ValueError, match="first must be 0 to 2, but is 3"):
        best_class(scores, first=3)
