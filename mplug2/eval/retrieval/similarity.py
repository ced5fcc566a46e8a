"""Which items are most similar to a query, and where its own stand: in blocks, never the whole matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

BLOCK = 1 << 20  # similarities that are held at once


@dataclass(frozen=True)
class Nearest:
    """The most similar items of each query, best first, and their similarities."""

    items: Int[Tensor, "queries k"]  # 32 bit
    values: Float[Tensor, "queries k"]


def nearest(queries: Float[Tensor, "queries width"], items: Float[Tensor, "items width"], k: int) -> Nearest:
    """Return the ``k`` items (all, if there are fewer) with the largest inner product with each query."""
    return search(queries, items, None, k)[0]


def search(
    queries: Float[Tensor, "queries width"],
    items: Float[Tensor, "items width"],
    own: Int[Tensor, "queries most"] | None,
    k: int,
) -> tuple[Nearest, Int[Tensor, " queries"]]:
    """Return the nearest items, and how many of the others are at least as similar as a query's best own
    one.

    ``own`` holds the numbers of each query's own items, at least one; where there are fewer than columns, one
    is repeated. Without ``own`` all counts are 0. Where a similarity is not a number, it counts against the
    query.
    """
    k = min(k, len(items))
    found = Nearest(
        torch.empty(len(queries), k, dtype=torch.int32, device=queries.device),
        torch.empty(len(queries), k, device=queries.device),
    )
    before = torch.zeros(len(queries), dtype=torch.long, device=queries.device)
    for rows in _blocks(len(queries), len(items)):
        similarity = queries[rows] @ items.T
        found.values[rows], found.items[rows] = similarity.topk(k, dim=1)
        if own is not None:
            best = similarity.gather(1, own[rows]).amax(dim=1, keepdim=True)
            similarity.scatter_(1, own[rows], -torch.inf)
            before[rows] = (~(similarity < best)).sum(dim=1)
    return found, before


def places(
    own: Bool[Tensor, "queries k"], scores: Float[Tensor, "queries k"], before: Int[Tensor, " queries"]
) -> Int[Tensor, " queries"]:
    """Return how many others stand before each query's best own item once what was found has ``scores``.

    ``own`` marks a query's own items among those found. Items that were not found stay behind in
    their order by similarity: a query with none of its own among the found keeps its place ``before``.
    """
    best = scores.masked_fill(~own, -torch.inf).amax(dim=1, keepdim=True)
    place = (~(scores < best) & ~own).sum(dim=1)
    place = torch.where(best.squeeze(1).isnan(), torch.iinfo(place.dtype).max, place)
    return torch.where(own.any(dim=1), place, before)


def _blocks(queries: int, items: int) -> Iterator[slice]:
    rows = max(1, BLOCK // max(items, 1))
    return (slice(start, start + rows) for start in range(0, queries, rows))
