"""Attention of few queries to a long memory that never projects the memory to keys and values."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

LEAST_SAVING = 10**8
# Of FLOPs: with 1.3 times fewer (50 queries) the many small products took as long.
LEAST_RATIO = 1.5


def flops_projected(samples: int, queries: int, keys: int, width: int) -> int:
    """FLOPs of projecting the memory to keys and values, of the scores, and of the weighted sums."""
    projections = 2 * 2 * keys * width**2
    products = 2 * 2 * queries * keys * width
    return samples * (projections + products)


def flops_unprojected(
    samples: int, queries: int, keys: int, width: int, heads: int
) -> int:
    """FLOPs of the same by `memory_attention`: every head compares and adds up vectors of the full width."""
    projections = 2 * 2 * queries * width**2
    products = 2 * 2 * heads * queries * keys * width
    return samples * (projections + products)


def memory_attention(
    q: Float[Tensor, "b heads n head_width"],
    memory: Float[Tensor, "b m memory_width"],
    key: tuple[Float[Tensor, "width memory_width"], Float[Tensor, " width"]],
    value: tuple[Float[Tensor, "width memory_width"], Float[Tensor, " width"]],
    mask: Bool[Tensor, "*_ #n m"] | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "b heads n head_width"]:
    """``dropout(softmax(q keys^T / sqrt(head_width))) values`` with ``keys = memory Wk^T + bk`` and ``values =
    memory Wv^T + bv``, without computing either.

    ``q (Wk x + bk) = (q Wk) x + q bk``, and ``sum p (Wv x + bv) = Wv sum p x + bv sum p``: the projections go
    to the n queries and sums, not to the m memory tokens. ``key`` and ``value`` are weight and bias of the
    projections. A query that ``mask`` (True: allowed) lets see no key gets zeros.
    """
    heads, n, head_width = q.shape[1:]
    key_weight, value_weight = (
        weight.unflatten(0, (heads, head_width)) for weight in (key[0], value[0])
    )
    key_bias, value_bias = (
        bias.unflatten(0, (heads, 1, head_width)) for bias in (key[1], value[1])
    )
    q = q * head_width**-0.5
    # The heads of a sample are further queries: (b, heads * n, memory_width) x (b, memory_width, m)
    in_memory = torch.einsum("bhnd,hdw->bhnw", q, key_weight).flatten(1, 2)
    scores = (in_memory @ memory.mT).unflatten(1, (heads, n))
    # The same for all keys, so it changes no weight; with it the bias has a gradient, as it has elsewhere.
    scores = scores + (q * key_bias).sum(-1, keepdim=True)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(-1)
    if mask is not None:
        # zeros where a query may see no key
        weights = weights.masked_fill(~mask, 0.0)
    weights = F.dropout(weights, dropout, dropout > 0).to(memory.dtype)
    sums = (weights.flatten(1, 2) @ memory).unflatten(1, (heads, n))
    attended = torch.einsum("bhnw,hdw->bhnd", sums, value_weight)
    # Dropped weights do not add up to 1.
    total = weights.sum(-1, keepdim=True)
    return attended + (total * value_bias).to(attended.dtype)


def pays(
    x: Float[Tensor, "b n width"], memory: Float[Tensor, "b m memory_width"], heads: int
) -> bool:
    """True on a CPU where `memory_attention` saves at least ``LEAST_SAVING`` FLOPs and needs ``LEAST_RATIO``
    times fewer.

    At width 768 with 12 heads that is so for up to 43 queries of a memory of 1,569 tokens.
    """
    if x.device.type != "cpu":
        return False
    samples, keys, width = memory.shape
    projected = flops_projected(samples, x.shape[1], keys, width)
    unprojected = flops_unprojected(samples, x.shape[1], keys, width, heads)
    saves = projected - unprojected >= LEAST_SAVING
    return saves and projected >= LEAST_RATIO * unprojected
