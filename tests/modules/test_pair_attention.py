"""Paired attention: torch's own attention with the same weights, and padding that is not seen."""

from __future__ import annotations

import torch
from torch import nn

from modules.attention import MultiheadAttention
from modules.pair_attention import PairAttention
from modules.streams import Tokens


def test_cross_attention_is_torchs() -> None:
    torch.manual_seed(0)
    ours, theirs = (
        MultiheadAttention(8, 2, 0.0),
        nn.MultiheadAttention(8, 2, batch_first=True),
    )
    layers = (ours.query, ours.key, ours.value)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([layer.weight for layer in layers]))
        theirs.in_proj_bias.copy_(torch.cat([layer.bias for layer in layers]))
    theirs.out_proj.load_state_dict(ours.out.state_dict())
    x, memory = torch.randn(2, 3, 8), torch.randn(2, 4, 8)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    expected, _ = theirs(x, memory, memory, key_padding_mask=~mask)
    torch.testing.assert_close(ours(x, memory, mask[:, None, None]), expected)


def test_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    pair = PairAttention(8, 2).eval()
    left, right = torch.randn(1, 3, 8), torch.randn(1, 2, 8)
    short = pair(Tokens(left), Tokens(right))
    mask = torch.tensor([[True] * 3 + [False]])
    padded = Tokens(torch.cat([left, torch.randn(1, 1, 8)], dim=1), mask)
    torch.testing.assert_close(pair(padded, Tokens(right)), short)
    assert short.shape == (1, 16)


def test_both_images_have_places_of_their_own() -> None:
    torch.manual_seed(0)
    pair = PairAttention(8, 2).eval()
    left, right = Tokens(torch.randn(1, 3, 8)), Tokens(torch.randn(1, 3, 8))
    there, back = pair(left, right), pair(right, left)
    assert not torch.allclose(there[:, :8], back[:, 8:])
