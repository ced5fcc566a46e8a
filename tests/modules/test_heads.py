"""Heads: what they pool."""

from __future__ import annotations

import torch

from modules.heads import ClassHead
from modules.streams import Tokens


def test_mean_leaves_padding_out_and_first_takes_the_first() -> None:
    torch.manual_seed(0)
    values, mask = torch.randn(2, 4, 8), torch.tensor([[True, True, False, False], [True] * 4])
    head = ClassHead(8, 3, pool="mean")
    torch.testing.assert_close(head.pooled(Tokens(values, mask))[0], values[0, :2].mean(dim=0))
    torch.testing.assert_close(head.pooled(Tokens(values)), values.mean(dim=1))
    torch.testing.assert_close(ClassHead(8, 3).pooled(Tokens(values, mask)), values[:, 0])
    assert head(Tokens(values, mask)).shape == (2, 3)
