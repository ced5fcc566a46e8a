"""Operations without weights: split is the inverse of concat, with gradients."""

from __future__ import annotations

import pytest
import torch

from modules.ops import concat, concat_vectors, split, weighted_sum
from modules.streams import Regions, Text, Tokens


def test_split_undoes_concat() -> None:
    torch.manual_seed(0)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    words = Tokens(torch.randn(2, 3, 4), mask)
    regions = Tokens(torch.randn(2, 5, 4))
    joint = concat(words, regions)
    ids = Text(torch.zeros(2, 3, dtype=torch.long), mask)
    areas = Regions(torch.zeros(2, 5, 7), torch.zeros(2, 5, 4))
    parts = split(joint, text=ids, regions=areas)
    assert list(parts) == ["text", "regions"]
    assert torch.equal(parts["text"].values, words.values)
    assert torch.equal(parts["regions"].values, regions.values)
    assert parts["text"].mask is not None
    assert torch.equal(parts["text"].mask, mask)
    assert parts["regions"].mask is not None
    assert parts["regions"].mask.all()


def test_gradients_reach_the_part_they_come_from() -> None:
    values = torch.randn(1, 4, 2, requires_grad=True)
    short, long = Tokens(torch.zeros(1, 1, 2)), Tokens(torch.zeros(1, 3, 2))
    parts = split(Tokens(values), first=short, second=long)
    assert parts["first"].mask is None
    parts["second"].values.sum().backward()
    assert values.grad is not None
    assert values.grad[0].tolist() == [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]


def test_lengths_that_do_not_add_up() -> None:
    tokens, part = Tokens(torch.zeros(1, 4, 2)), Tokens(torch.zeros(1, 3, 2))
    message = (
        r"the lengths of the parts \(first 3, second 3\) must add up to 4, but do to 6"
    )
    with pytest.raises(ValueError, match=message):
        split(tokens, first=part, second=part)


def test_losses_without_weights_are_added() -> None:
    losses = [torch.tensor(1.5), torch.tensor(2.0)]
    assert weighted_sum(*losses).item() == 3.5
    assert weighted_sum(*losses, weights=[2.0, 0.5]).item() == 4.0
    with pytest.raises(ValueError, match="weights must be one per loss"):
        weighted_sum(*losses, weights=[1.0])


def test_widths_of_vectors_add_up() -> None:
    both = concat_vectors(torch.ones(2, 3), torch.zeros(2, 1))
    assert both.tolist() == [[1.0, 1.0, 1.0, 0.0]] * 2
