"""How a loss becomes one number: a sum and the count that it is divided by, kept apart until both are known.

A batch may be split over micro-batches and ranks. The mean over all of it is the sum of the parts divided by
the sum of their counts, and not the mean of their means: so a loss returns both, and the network divides by
the count of the complete optimizer step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from modules.distributed import mean_over_ranks


@dataclass(frozen=True)
class LossSum:
    """The sum of the terms of a loss on this rank, and their count (rows, tokens, or weights)."""

    total: Float[Tensor, ""]
    count: Float[Tensor, ""]

    def mean(self) -> Float[Tensor, ""]:
        """Return the sum divided by the count averaged over ranks: averaged gradients are the global ones."""
        return self.divide(mean_over_ranks(self.count))

    def divide(self, count: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """Return the sum divided by ``count``; 0 if nothing is counted anywhere."""
        # Not clamp(min=1): a count may be a sum of weights below 1.
        return self.total / torch.where(count > 0, count, 1.0)


def count_of(number: int, tensor: Tensor) -> Float[Tensor, ""]:
    """Return a number of rows or elements as the count of a loss, on the device of ``tensor``."""
    # A tensor, so that counts of ranks can be added.
    return torch.tensor(float(number), device=tensor.device)


def reduce_loss(value: LossSum | Tensor) -> Float[Tensor, ""]:
    """Return the scalar of what a loss returned: a sum with its count, or a plain scalar."""
    return value.mean() if isinstance(value, LossSum) else value
