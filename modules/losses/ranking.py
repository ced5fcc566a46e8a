"""A ranking loss: a row must score higher than another."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from modules.losses.reduction import LossSum, count_of
from registry import operation


def num_pairs(higher: Int[Tensor, " a"]) -> Float[Tensor, ""]:
    """Return the number of pairs."""
    return count_of(len(higher), higher)


@operation(
    inputs={"logits": "logits B 1", "higher": "index A -> B", "lower": "index A -> B"},
    outputs="scalar",
    count=num_pairs,
)
def ranking_loss(
    logits: Float[Tensor, "b 1"],
    higher: Int[Tensor, " a"],
    lower: Int[Tensor, " a"],
    *,
    margin: float = 0.2,
) -> LossSum:
    """``max(0, margin + p[lower] - p[higher])`` with ``p = sigmoid(logits)``, averaged over pairs of rows.

    UNITER's fine-tuning for retrieval (arXiv 1909.11740): a pair is an image with its text, and the same with
    another image or text.
    """
    # (b, 1) -> (b). Probabilities, as released: a margin of logits would have no bound.
    scores = torch.sigmoid(logits.float().squeeze(-1))
    losses = (margin + scores[lower] - scores[higher]).clamp(min=0)
    return LossSum(losses.sum(), num_pairs(higher))
