"""Losses against a distribution over classes, and against independent scores of classes."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from modules.losses.reduction import LossSum, count_of
from modules.sizes import check_rate
from registry import operation


def kl_count(
    target: Float[Tensor, "b classes"],
    *,
    reduction: Literal["per_row", "per_element"] = "per_row",
) -> Float[Tensor, ""]:
    """Return the number of rows, or of rows times classes."""
    count = target.numel() if reduction == "per_element" else len(target)
    return count_of(count, target)


def num_rows(target: Float[Tensor, "b classes"]) -> Float[Tensor, ""]:
    """Return the number of rows."""
    return count_of(len(target), target)


@operation(
    inputs={"logits": "logits|vector B classes", "target": "scores|vector B classes"},
    outputs="scalar",
    count=kl_count,
)
def kl_loss(
    logits: Float[Tensor, "b classes"],
    target: Float[Tensor, "b classes"],
    *,
    reduction: Literal["per_row", "per_element"] = "per_row",
) -> LossSum:
    """``sum_c target_c (log target_c - log softmax(logits)_c)``, averaged over rows.

    Each row of ``target`` is a distribution over the classes. ``reduction='per_element'`` divides by the
    number of classes, too: UNITER's released loss of masked regions.
    """
    log_probs = F.log_softmax(logits.float(), dim=-1)
    # kl_div takes log-probabilities first, and counts 0 log 0 as 0.
    divergence = F.kl_div(log_probs, target.float(), reduction="sum")
    return LossSum(divergence, kl_count(target, reduction=reduction))


@operation(
    inputs={"logits": "logits B classes", "target": "scores B classes"},
    outputs="scalar",
    count=num_rows,
)
def soft_cross_entropy(
    logits: Float[Tensor, "b classes"],
    target: Float[Tensor, "b classes"],
    *,
    smoothing: float = 0.0,
) -> LossSum:
    """``-sum_c target_c log softmax(logits)_c``, averaged over the rows of all ranks.

    For targets that are mixed (mixup, cutmix). ``smoothing`` spreads that fraction of each target over all
    classes: ``(1 - smoothing) target + smoothing / classes`` (arXiv 1512.00567, section 7).
    """
    check_rate(smoothing=smoothing)
    smoothed = (1 - smoothing) * target.float() + smoothing / target.shape[-1]
    # Softmax over many classes loses digits that matter in half precision.
    losses = -(smoothed * F.log_softmax(logits.float(), dim=-1)).sum(dim=-1)
    return LossSum(losses.sum(), num_rows(target))


@operation(
    inputs={"logits": "logits B classes", "target": "scores B classes"},
    outputs="scalar",
    count=num_rows,
)
def binary_cross_entropy(
    logits: Float[Tensor, "b classes"], target: Float[Tensor, "b classes"]
) -> LossSum:
    """Cross-entropy of each class on its own, summed over classes and averaged over rows.

    ``target``: from 0 to 1 for each class, such as the fraction of annotators who gave an answer.
    """
    # Logits, not probabilities: log(sigmoid(x)) is stable where sigmoid(x) is rounded to 0 or 1.
    losses = F.binary_cross_entropy_with_logits(
        logits.float(), target.float(), reduction="sum"
    )
    return LossSum(losses, num_rows(target))
