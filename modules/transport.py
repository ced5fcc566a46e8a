"""Optimal transport between words and regions: UNITER's word-region alignment (arXiv 1909.11740)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from modules.losses.reduction import LossSum, count_of
from modules.streams import Tokens, full_mask
from registry import operation

LEAST_NORM = 1e-5  # of a vector in a cosine
PADDING = 1e4  # added to the denominators of padding


def transport_plan(
    cost: Float[Tensor, "b l r"],
    words: Bool[Tensor, "b l"],
    regions: Bool[Tensor, "b r"],
    beta: float = 0.5,
    iterations: int = 50,
) -> Float[Tensor, "b l r"]:
    """Return how much of each word goes to each region, by IPOT (arXiv 1802.04307) with one inner step.

    Rows of valid words sum to 1 / (number of words), a plan to 1; padding gets nothing. ``cost`` is not
    differentiated.
    """
    # (b, l, r): pairs of which neither is padding.
    valid = (words[:, :, None] & regions[:, None]).to(cost.dtype)
    num_words, num_regions = words.sum(dim=1)[:, None], regions.sum(dim=1)[:, None]
    word_padding = PADDING * (~words).to(cost.dtype)
    region_padding = PADDING * (~regions).to(cost.dtype)
    # The plan is a constant of the loss: gradients go through the cost outside of it alone.
    kernel = torch.exp(-cost.detach() / beta) * valid
    plan = valid
    sigma = words.to(cost.dtype) / num_words
    for _ in range(iterations):
        mass = kernel * plan
        # (b, 1, l) x (b, l, r) -> (b, r), and (b, l, r) x (b, r, 1) -> (b, l)
        delta = 1 / (num_regions * (sigma[:, None] @ mass).squeeze(1) + region_padding)
        sigma = 1 / (num_words * (mass @ delta[:, :, None]).squeeze(2) + word_padding)
        plan = sigma[:, :, None] * mass * delta[:, None]
    return plan * valid


def row_count(match: Int[Tensor, " b"]) -> Float[Tensor, ""]:
    """Return the number of pairs."""
    return count_of(len(match), match)


@operation(
    inputs={"text": "tokens B L width", "regions": "tokens B R width"},
    outputs={"distance": "scores B", "cost": "scores B L R", "plan": "scores B L R"},
)
def optimal_transport(
    text: Tokens, regions: Tokens, *, beta: float = 0.5, iterations: int = 50
) -> dict[str, Tensor]:
    """The distance of words to regions, ``sum(plan * cost)`` with ``cost = 1 - cosine``, and its plan.

    No gradient flows through the plan. All tokens of the text count, [CLS] and [SEP] too; padding costs
    nothing and gets nothing.
    """
    if beta <= 0 or iterations < 1:
        raise ValueError(
            f"beta and iterations must be above 0, but are {beta} and {iterations}"
        )
    words, areas = full_mask(text), full_mask(regions)
    # Cosines near 1 lose their differences in half precision.
    word_vectors = F.normalize(text.values.float(), dim=-1, eps=LEAST_NORM)
    area_vectors = F.normalize(regions.values.float(), dim=-1, eps=LEAST_NORM)
    cost = 1 - word_vectors @ area_vectors.transpose(1, 2)
    # Padding has no direction, so its cosine is meaningless.
    cost = cost.masked_fill(~(words[:, :, None] & areas[:, None]), 0)
    plan = transport_plan(cost, words, areas, beta, iterations)
    return {"distance": (cost * plan).sum(dim=(1, 2)), "cost": cost, "plan": plan}


@operation(
    inputs={"distance": "scores B", "match": "labels B"},
    outputs="scalar",
    count=row_count,
)
def transport_loss(distance: Float[Tensor, " b"], match: Int[Tensor, " b"]) -> LossSum:
    """Distances of matched pairs (``match`` 1) minus those of all others, averaged over rows."""
    sign = torch.where(match > 0, 1.0, -1.0)
    return LossSum((sign * distance).sum(), row_count(match))
