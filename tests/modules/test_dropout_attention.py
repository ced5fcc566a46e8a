"""Attention that draws its dropout again: exact without chance, the right distribution with it."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from modules import dropout_attention as module
from modules.attention import MultiheadAttention, causal_mask
from modules.dropout_attention import attention, dropout_attention
from modules.recompute import checkpoint_layer

ALMOST_NONE = 1e-9  # a rate that is rounded to 0


def _qkv(*sizes: int, kind: torch.dtype = torch.float64) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(*sizes, dtype=kind, requires_grad=True) for _ in range(3)]


def _dropped(heads: int, n: int, m: int, rate: float) -> Tensor:
    """Return what is left of equal probabilities, times their number: 0 or 1 / (1 - rate)."""
    q, k = torch.zeros(1, heads, n, 4), torch.zeros(1, heads, m, 4)
    # with the unit matrix as values the output is the matrix of probabilities
    values = torch.eye(m).expand(1, heads, m, m)
    return dropout_attention(q, k, values, None, rate)[0] * m


@pytest.mark.parametrize("masked", ["none", "padding", "causal"])
def test_without_chance_it_equals_torch(masked: str) -> None:
    # more queries than one block of rows
    q, k, v = _qkv(2, 2, module.ROWS + 5, 4)
    n = q.shape[2]
    mask = None
    if masked == "padding":
        mask = torch.rand(2, 1, 1, n) < 0.7
    elif masked == "causal":
        mask = causal_mask(n, q.device)
    ours = dropout_attention(q, k, v, mask, ALMOST_NONE)
    theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    gradient = torch.randn_like(ours)
    found = torch.autograd.grad(ours, (q, k, v), gradient)
    expected = torch.autograd.grad(theirs, (q, k, v), gradient)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_gradients_are_those_of_the_mask_that_was_drawn() -> None:
    q, k, v = _qkv(1, 2, 3, 2)
    mask = torch.rand(1, 2, 3, 3) < 0.8

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        torch.manual_seed(3)
        return dropout_attention(q, k, v, mask, 0.3)

    # the outputs of one seed differ from those without dropout, so something was dropped
    assert not torch.allclose(
        run(q, k, v), dropout_attention(q, k, v, mask, ALMOST_NONE)
    )
    assert torch.autograd.gradcheck(run, (q, k, v))
    assert torch.autograd.gradgradcheck(run, (q, k, v))


def test_a_query_that_sees_no_key_gets_zeros() -> None:
    q, k, v = _qkv(1, 1, 3, 4)
    mask = torch.tensor([[True, True, False], [False] * 3, [True] * 3])
    out = dropout_attention(q, k, v, mask, 0.1)
    assert torch.equal(out[0, 0, 1], torch.zeros(4, dtype=torch.float64))
    gradients = torch.autograd.grad(out.sum(), (q, k, v))
    assert all(bool(g.isfinite().all()) for g in gradients)


def test_the_rate_and_the_scale_are_those_asked_for() -> None:
    torch.manual_seed(0)
    dropped = _dropped(4, 300, 400, 0.1)
    rate = (dropped == 0).double().mean().item()
    # 480,000 draws: the standard deviation of their mean is 0.00043
    assert rate == pytest.approx(0.1, abs=0.0018)
    kept = dropped[dropped > 0]
    torch.testing.assert_close(
        kept, torch.full_like(kept, 1 / 0.9), rtol=1e-4, atol=0.0
    )


def test_heads_rows_and_calls_are_independent() -> None:
    torch.manual_seed(0)
    first, second = _dropped(2, 300, 400, 0.5), _dropped(2, 300, 400, 0.5)
    signs = (first > 0).double() * 2 - 1
    pairs = {
        "heads": (signs[0], signs[1]),
        "neighbouring rows": (signs[:, 1:], signs[:, :-1]),
        "blocks of rows": (signs[:, : 300 - module.ROWS], signs[:, module.ROWS :]),
        "neighbouring keys": (signs[..., 1:], signs[..., :-1]),
        "calls": (signs, (second > 0).double() * 2 - 1),
    }
    for name, (left, right) in pairs.items():
        correlation = (left * right).mean().item()
        assert abs(correlation) < 4.5 * left.numel() ** -0.5, name


def test_a_seed_of_torch_decides_what_is_dropped() -> None:
    torch.manual_seed(7)
    first = _dropped(1, 20, 20, 0.5)
    assert not torch.equal(first, _dropped(1, 20, 20, 0.5))
    torch.manual_seed(7)
    assert torch.equal(first, _dropped(1, 20, 20, 0.5))


def test_half_precision_keeps_its_type() -> None:
    q, k, v = _qkv(1, 2, 9, 4, kind=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        ours = dropout_attention(q, k, v, None, ALMOST_NONE)
        theirs = F.scaled_dot_product_attention(q, k, v)
    assert ours.dtype == theirs.dtype == torch.bfloat16
    torch.testing.assert_close(ours, theirs, rtol=2e-2, atol=2e-2)
    ours.float().sum().backward()
    assert q.grad is not None and q.grad.dtype == torch.float32


def test_it_is_used_where_it_pays_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []

    def spy(*args: object) -> Tensor:
        used.append(args)
        return dropout_attention(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "dropout_attention", spy)
    n = 512
    q, k, v = _qkv(1, 1, n, 4, kind=torch.float32)
    attention(q, k, v, None, 0.1)
    assert len(used) == 1
    attention(q, k, v, None, 0.0)
    attention(q, k, v, torch.zeros(n, n), 0.1)
    attention(q[:, :, :8], k, v, None, 0.1)
    with torch.no_grad():
        attention(q, k, v, None, 0.1)
    assert len(used) == 1


def test_a_compiled_layer_takes_the_attention_of_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    q, k, v = _qkv(1, 1, 512, 4, kind=torch.float32)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.manual_seed(1)
    found = attention(q, k, v, None, 0.5)
    torch.manual_seed(1)
    expected = F.scaled_dot_product_attention(q, k, v, dropout_p=0.5)
    torch.testing.assert_close(found, expected)


def test_a_recomputed_layer_draws_the_same_mask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LEAST_SCORES", 1)
    torch.manual_seed(0)
    layer = MultiheadAttention(8, heads=2, dropout=0.5)
    x = torch.randn(2, 6, 8)
    gradients = []
    for recompute in ("none", "all"):
        torch.manual_seed(1)
        out = checkpoint_layer(layer, x, recompute=recompute)
        gradients.append(torch.autograd.grad(out.sum(), layer.value.weight)[0])
    assert torch.equal(*gradients)
