"""Keep the ranks of a sharded network in step: under ZeRO stage 3 every rank must call the same layers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
import torch.distributed as dist

_together = False


@contextlib.contextmanager
def together() -> Iterator[None]:
    """While open, loops of unequal length (generation) run until the last rank is done."""
    global _together
    before, _together = _together, True
    try:
        yield
    finally:
        _together = before


def any_active(active: bool, device: torch.device | str = "cpu") -> bool:
    """Whether this rank, or (inside `together`) any rank, still has work to do."""
    if not (_together and dist.is_available() and dist.is_initialized()):
        return active
    flag = torch.tensor(float(active), device=device)
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return bool(flag.item())


def mean_over_ranks(count: torch.Tensor) -> torch.Tensor:
    """The mean of ``count`` over all ranks: dividing by it makes averaged gradients those of the global
    batch."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return count
    total = count.detach().clone()
    dist.all_reduce(total, op=dist.ReduceOp.SUM)
    return total / dist.get_world_size()
