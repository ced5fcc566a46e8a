"""Heads over vectors and tokens: their layers, and padding that is never chosen."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from modules.streams import Tokens
from modules.vector_heads import Pooler, TokenScores, VectorHead


def test_a_pooler_reads_the_first_token() -> None:
    torch.manual_seed(0)
    values, pooler = torch.randn(2, 3, 4), Pooler(4, dropout=0.0)
    expected = torch.tanh(pooler.dense(values[:, 0]))
    torch.testing.assert_close(pooler(Tokens(values)), expected)


def test_two_layers_or_one() -> None:
    torch.manual_seed(0)
    vector, head = torch.randn(3, 4), VectorHead(4, 5, hidden=6)
    assert head.dense is not None
    assert head.norm is not None
    expected = head.out(head.norm(F.gelu(head.dense(vector))))
    torch.testing.assert_close(head(vector), expected)
    small = VectorHead(4, 5, depth=1, hidden=6)
    assert {name: tuple(x.shape) for name, x in small.named_parameters()} == {
        "out.weight": (5, 4),
        "out.bias": (5,),
    }


def test_the_norm_before_the_activation() -> None:
    torch.manual_seed(0)
    vector, head = torch.randn(3, 4), VectorHead(4, 5, hidden=6, norm="before")
    assert head.dense is not None
    assert head.norm is not None
    torch.nn.init.normal_(head.norm.bias)
    torch.testing.assert_close(
        head(vector), head.out(F.gelu(head.norm(head.dense(vector))))
    )


def test_padding_is_never_chosen() -> None:
    torch.manual_seed(0)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    tokens = Tokens(torch.randn(2, 3, 4), mask)
    for depth in (1, 2):
        head = TokenScores(4, depth=depth)
        scores = head(tokens)
        assert bool((scores[~mask] < scores[mask].min() - 1000).all())
        torch.testing.assert_close(scores[mask], head(Tokens(tokens.values))[mask])
