"""Exact nearest-neighbour search in blocks: the complete similarity matrix is never in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

BLOCK = 1 << 20  # similarities that are held at once


@dataclass(frozen=True)
class TopK:
    """The most similar items of each query, best first, and their similarities."""

    items: Int[Tensor, "queries k"]  # 32 bit
    values: Float[Tensor, "queries k"]


def nearest(
    queries: Float[Tensor, "queries width"], items: Float[Tensor, "items width"], k: int
) -> TopK:
    """Return the ``k`` items (all, if there are fewer) with the largest inner product with each query."""
    return search(queries, items, None, k)[0]


def search(
    queries: Float[Tensor, "queries width"],
    items: Float[Tensor, "items width"],
    positives: Int[Tensor, "queries most"] | None,
    k: int,
) -> tuple[TopK, Int[Tensor, " queries"]]:
    """Return the ``k`` nearest items, and how many others are at least as similar as the best positive.

    ``positives`` holds the numbers of each query's positive items, at least one; if there are fewer than
    columns, one is repeated. Without ``positives`` all counts are 0. A similarity that is NaN counts against
    the query.
    """
    k = min(k, len(items))
    top = TopK(
        torch.empty(len(queries), k, dtype=torch.int32, device=queries.device),
        torch.empty(len(queries), k, device=queries.device),
    )
    preceding = torch.zeros(len(queries), dtype=torch.long, device=queries.device)
    for rows in _blocks(len(queries), len(items)):
        similarity = queries[rows] @ items.T
        top.values[rows], top.items[rows] = similarity.topk(k, dim=1)
        if positives is not None:
            best = similarity.gather(1, positives[rows]).amax(dim=1, keepdim=True)
            similarity.scatter_(1, positives[rows], -torch.inf)
            preceding[rows] = (~(similarity < best)).sum(dim=1)
    return top, preceding


def places(
    positives: Bool[Tensor, "queries k"],
    scores: Float[Tensor, "queries k"],
    preceding: Int[Tensor, " queries"],
) -> Int[Tensor, " queries"]:
    """Return how many others precede each query's best positive once what was retrieved has ``scores``.

    ``positives`` marks the positives among the retrieved items. Other items follow in their order by
    similarity: a query that retrieved none of its positives keeps its number of ``preceding`` items.
    """
    best = scores.masked_fill(~positives, -torch.inf).amax(dim=1, keepdim=True)
    num_preceding = (~(scores < best) & ~positives).sum(dim=1)
    last = torch.iinfo(num_preceding.dtype).max
    num_preceding = torch.where(best.squeeze(1).isnan(), last, num_preceding)
    return torch.where(positives.any(dim=1), num_preceding, preceding)


def _blocks(queries: int, items: int) -> Iterator[slice]:
    rows = max(1, BLOCK // max(items, 1))
    return (slice(start, start + rows) for start in range(0, queries, rows))
