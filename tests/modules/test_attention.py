"""Attention: masks, shared keys and values, and the equation itself."""

import pytest
import torch

from modules.attention import Attention, Layer, causal_mask, head_count, key_mask


def test_equals_the_written_out_equation() -> None:
    torch.manual_seed(0)
    attention = Attention(8, heads=2, dropout=0.0)
    x, memory = torch.randn(3, 4, 8), torch.randn(3, 5, 8)
    expected = torch.empty_like(x)
    q, k, v = attention.query(x), attention.key(memory), attention.value(memory)
    for h in range(2):
        part = slice(4 * h, 4 * h + 4)
        scores = torch.einsum("bnd,bmd->bnm", q[..., part], k[..., part]) / 2.0
        expected[..., part] = torch.einsum(
            "bnm,bmd->bnd", scores.softmax(-1), v[..., part]
        )
    expected = attention.norm(x + attention.out(expected))
    torch.testing.assert_close(attention(x, memory), expected)


def test_padding_is_not_seen() -> None:
    torch.manual_seed(0)
    layer = Layer(8, heads=2, dropout=0.0, cross=True).eval()
    x, memory = torch.randn(1, 3, 8), torch.randn(1, 4, 8)
    mask = torch.tensor([[True, True, False, False]])
    whole = layer(x, None, memory, key_mask(mask))
    memory[:, 2:] = 99.0
    torch.testing.assert_close(layer(x, None, memory, key_mask(mask)), whole)
    assert not torch.allclose(layer(x, None, memory, None), whole)


def test_remembered_memory_gives_the_same() -> None:
    torch.manual_seed(0)
    attention = Attention(8, heads=2, dropout=0.0)
    x, memory = torch.randn(2, 3, 8), torch.randn(2, 4, 8)
    torch.testing.assert_close(
        attention(x, attention.project_kv(memory)), attention(x, memory)
    )


def test_causal_mask() -> None:
    assert causal_mask(3, torch.device("cpu")).tolist() == [
        [True, False, False],
        [True, True, False],
        [True] * 3,
    ]


def test_heads_must_divide_width() -> None:
    assert head_count(128, 0) == 2
    with pytest.raises(ValueError, match="heads must divide width"):
        head_count(10, 3)
