"""Elements with a label, and elements that a mask marks: which are kept, and their gradients."""

from __future__ import annotations

import torch

from modules.selection import select_labelled, select_masked
from modules.streams import Regions, Tokens


def test_labelled_positions_are_kept_in_order() -> None:
    values = torch.arange(12.0).view(2, 3, 2).requires_grad_()
    labels = torch.tensor([[-1, 5, 0], [7, -1, -100]])
    kept = select_labelled(Tokens(values), labels)
    assert kept["labels"].tolist() == [5, 0, 7]
    assert kept["hidden"].tolist() == [[2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]
    kept["hidden"].sum().backward()
    assert values.grad is not None
    assert values.grad[..., 0].tolist() == [[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]


def test_nothing_is_labelled() -> None:
    kept = select_labelled(Tokens(torch.zeros(2, 3, 4)), torch.full((2, 3), -1))
    assert kept["hidden"].shape == (0, 4)
    assert kept["labels"].shape == (0,)


def test_masked_elements_of_tokens_and_of_tensors() -> None:
    values = torch.arange(8.0, dtype=torch.float64).view(2, 2, 2).requires_grad_()
    mask = torch.tensor([[True, False], [True, True]])
    assert select_masked(Tokens(values), mask).tolist() == [
        [0.0, 1.0],
        [4.0, 5.0],
        [6.0, 7.0],
    ]
    assert torch.equal(select_masked(values, mask), select_masked(Tokens(values), mask))
    regions = Regions(values, torch.zeros(2, 2, 4))
    assert torch.equal(select_masked(regions, mask), select_masked(values, mask))
    assert torch.autograd.gradcheck(lambda x: select_masked(x, mask), values)
