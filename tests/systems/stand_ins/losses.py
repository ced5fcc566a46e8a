"""Losses and transport between two sets of tokens."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from modules.losses.reduction import LossSum
from modules.streams import Tokens, full_mask
from registry import operation

TEMPERATURE = 0.07


def num_rows(target: Tensor) -> Tensor:
    """Return the number of rows, which the loss divides by."""
    return torch.tensor(float(len(target)), device=target.device)


@operation(
    inputs={"logits": "logits|vector B classes", "target": "vector|scores B classes"},
    outputs="scalar",
    count=num_rows,
)
def kl_loss(logits: Tensor, target: Tensor) -> LossSum:
    """Divergence of `softmax(logits)` from a distribution over the same classes, averaged over rows."""
    distribution = target / target.sum(dim=-1, keepdim=True).clamp(min=1e-6)
    divergence = F.kl_div(logits.float().log_softmax(dim=-1), distribution.float(), reduction="sum")
    return LossSum(divergence, num_rows(target))


@operation(
    inputs={"vision": "vector B width", "text": "vector B width", "target": "scores B B"},
    outputs="scalar",
)
def soft_contrastive(vision: Tensor, text: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of the similarities of vision and text with a distribution over all texts of a batch."""
    logits = vision.float() @ text.float().T / TEMPERATURE
    return -(target.detach() * logits.log_softmax(dim=-1)).sum(dim=-1).mean()


@operation(
    inputs={"text": "tokens B L width", "regions": "tokens B R width", "match": "labels B"},
    outputs={"loss": "scalar", "plan": "scores B L R"},
)
def optimal_transport(text: Tokens, regions: Tokens, match: Tensor) -> dict[str, Tensor]:
    """Cost of carrying each word to the regions most like it, less for the pairs that match.

    `plan`: the fraction of each word that each region gets.
    """
    words = F.normalize(text.values.float(), dim=-1)
    areas = F.normalize(regions.values.float(), dim=-1)
    cost = 1 - words @ areas.transpose(1, 2)
    plan = torch.softmax(-cost.detach() / TEMPERATURE, dim=-1)
    valid = full_mask(text)
    distance = ((plan * cost).sum(dim=-1) * valid).sum(dim=1) / valid.sum(dim=1)
    sign = 2.0 * (match > 0) - 1
    return {"loss": (sign * distance).mean(), "plan": plan}
