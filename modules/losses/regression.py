"""Losses of real numbers."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from modules.losses.reduction import LossSum, count_of
from registry import operation


def element_count(target: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Return the number of elements."""
    return count_of(target.numel(), target)


@operation(
    inputs={
        "values": "vector|scores|logits B width | scores B",
        "target": "vector|scores|logits B width | scores B",
    },
    outputs="scalar",
    count=element_count,
)
def mse_loss(values: Float[Tensor, "..."], target: Float[Tensor, "..."]) -> LossSum:
    """``(values - target)^2``, averaged over all elements of the rows of all ranks."""
    # Broadcasting would compare each row with all others, and no error would show it.
    if values.shape != target.shape:
        raise ValueError(
            f"target must have the shape {list(values.shape)}, but has {list(target.shape)}"
        )
    errors = (values.float() - target.float()).square()
    return LossSum(errors.sum(), element_count(target))
