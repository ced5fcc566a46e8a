"""Collective operations for the forward pass. They keep ranks in sync (required by ZeRO stage 3) and treat
the batches of all ranks as one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Int, Shaped
from torch import Tensor

_together = False


@contextlib.contextmanager
def synced_ranks() -> Iterator[None]:
    """While open, loops of unequal length (generation) run until the last rank is done."""
    global _together
    # The value before is restored, so that blocks may be nested.
    before, _together = _together, True
    try:
        yield
    finally:
        _together = before


def any_rank_active(active: bool, device: torch.device | str = "cpu") -> bool:
    """Whether this rank, or (inside `together`) any rank, still has work to do."""
    if not (_together and dist.is_available() and dist.is_initialized()):
        return active
    flag = torch.tensor(float(active), device=device)
    # Every rank must reach this call as often: a rank without work calls it, too.
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return bool(flag.item())


def _sharing() -> int:
    """How many ranks share the batch under way: while gradients are wanted all do, otherwise each has its
    own."""
    if not (torch.is_grad_enabled() and dist.is_available() and dist.is_initialized()):
        return 1
    return dist.get_world_size()


def mean_over_ranks(count: torch.Tensor) -> torch.Tensor:
    """The mean of ``count`` over all ranks: dividing by it makes averaged gradients those of the global
    batch."""
    if _sharing() == 1:
        return count
    # all_reduce changes its argument, which the caller still holds.
    total = count.detach().clone()
    dist.all_reduce(total, op=dist.ReduceOp.SUM)
    return total / dist.get_world_size()


class _Gather(torch.autograd.Function):
    """Rows of all ranks, interleaved; each rank gets back the gradients that all have for its rows."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        # world x (rows, ...) -> (rows * world, ...): row i of rank r is row i * world + r
        return torch.stack(parts, dim=1).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        total = grad.float().contiguous()
        dist.all_reduce(total, op=dist.ReduceOp.SUM)
        # (rows * world, ...) -> (rows, world, ...) -> the rows of this rank
        per_rank = total.unflatten(0, (-1, dist.get_world_size()))
        return per_rank[:, dist.get_rank()].to(grad.dtype)


class _Agree(torch.autograd.Function):
    """The value itself; its gradient is the mean of all ranks'."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        # autograd may share a gradient between branches: it must not change in place.
        grad = grad.contiguous().clone()
        dist.all_reduce(grad, op=dist.ReduceOp.SUM)
        return grad / dist.get_world_size()


def average_gradient(value: Tensor) -> Tensor:
    """``value``, for what decides by its gradient: each rank gets the mean, so all ranks decide the same."""
    return value if _sharing() == 1 else _Agree.apply(value)


def all_gather_rows(rows: Shaped[Tensor, "own *rest"]) -> Shaped[Tensor, "joint *rest"]:
    """The rows of all ranks in the order in which the loader deals samples: row i of rank r at i * world + r.

    Every rank must have equally many. Gradients flow back to the rank that a row came from. Without gradients
    wanted, a rank's own rows.
    """
    return rows if _sharing() == 1 else _Gather.apply(rows)


def own_rows(count: int, device: torch.device | str = "cpu") -> Int[Tensor, " own"]:
    """Where this rank's ``count`` rows are among those of all ranks (`all_gather_rows`)."""
    world = _sharing()
    rank = dist.get_rank() if world > 1 else 0
    return torch.arange(count, device=device) * world + rank


def shortest_and_longest(
    length: int, device: torch.device | str = "cpu"
) -> tuple[int, int]:
    """The least and the greatest ``length`` among the ranks that share the batch."""
    if _sharing() == 1:
        return length, length
    # The greatest of the negative lengths is the least one: one exchange for both.
    both = torch.tensor([-length, length], device=device)
    dist.all_reduce(both, op=dist.ReduceOp.MAX)
    least, greatest = both.tolist()
    return -least, greatest
