"""An operation that is a loss: it returns a sum and a count, so that micro-batches and ranks add up."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from modules.losses.reduction import LossSum
from registry import operation


def num_rows(target: Int[Tensor, " b"]) -> Float[Tensor, ""]:
    """Return the number of rows, which the loss divides by."""
    return torch.tensor(float(len(target)), device=target.device)


@operation(inputs={"logits": "logits B classes", "target": "labels B"}, outputs="scalar", count=num_rows)
def ordinal_loss(
    logits: Float[Tensor, "b classes"], target: Int[Tensor, " b"], *, spread: float = 0.0
) -> LossSum:
    """Cross-entropy with ``spread`` of each target's weight on the two neighbouring classes."""
    log_probabilities = logits.float().log_softmax(dim=-1)
    last = logits.shape[-1] - 1
    centre = log_probabilities.gather(1, target[:, None]).squeeze(1)
    below = log_probabilities.gather(1, (target[:, None] - 1).clamp(min=0)).squeeze(1)
    above = log_probabilities.gather(1, (target[:, None] + 1).clamp(max=last)).squeeze(1)
    losses = -(1 - spread) * centre - spread * (below + above) / 2
    return LossSum(losses.sum(), num_rows(target))
