"""Losses: scalars to be minimised."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from modules.distributed import mean_over_ranks
from modules.sizes import check_rate, check_share
from modules.streams import Text
from registry import operation


def next_word_losses(
    logits: Float[Tensor, "a l vocab"],
    target: Text,
    teacher: Float[Tensor, "a l vocab"] | None = None,
    alpha: float = 0.0,
    skip: int = 0,
) -> tuple[Float[Tensor, "a next"], Float[Tensor, "a next"]]:
    """Cross-entropy of each next word and 1.0 where it counts (a real word, not one of the first ``skip``
    ids).

    With a teacher: ``(1 - alpha) ce + alpha * -sum_v softmax(teacher)_v log_softmax(logits)_v``.
    """
    losses = F.cross_entropy(logits[:, :-1].flatten(0, 1), target.ids[:, 1:].flatten(), reduction="none")
    losses = losses.view(target.ids.shape[0], -1)
    if teacher is not None and alpha:
        # as with the logits, half precision would lose digits that matter; a teacher is not taught
        soft = F.softmax(teacher[:, :-1].detach().float(), dim=-1)
        soft = -(F.log_softmax(logits[:, :-1], dim=-1) * soft).sum(dim=-1)
        losses = (1 - alpha) * losses + alpha * soft
    counts = target.mask[:, 1:].to(losses.dtype, copy=True)
    counts[:, : max(skip - 1, 0)] = 0  # the first id, [CLS], is never predicted
    return losses * counts, counts


def _averaged(total: Float[Tensor, ""], count: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """``total / count``, the count averaged over ranks; 0 where no rank has anything that counts."""
    mean = mean_over_ranks(count)
    return total / torch.where(mean > 0, mean, 1.0)


@operation(
    inputs={
        "logits": "logits A L vocab",
        "target": "text A L",
        "weight?": "weight A",
        "owner?": "index A",
        "teacher?": "logits A L vocab",
    },
    outputs="scalar",
    off={"teacher": "alpha"},
)
def lm_loss(
    logits: Float[Tensor, "a l vocab"],
    target: Text,
    weight: Float[Tensor, " a"] | None = None,
    owner: Int[Tensor, " a"] | None = None,
    teacher: Float[Tensor, "a l vocab"] | None = None,
    *,
    alpha: float = 0.0,
    skip: int = 0,
    mean: Literal["sequences", "words"] = "sequences",
) -> Float[Tensor, ""]:
    """Next-word cross-entropy, softened towards a teacher by ``alpha``; the first ``skip`` ids, [CLS]
    counted, are not scored.

    ``mean='sequences'``: words summed, times the sequence's ``weight``, summed, divided by the number of
    owners (questions), or of sequences where no ``owner`` is given: the released video QA loss.
    ``mean='words'``: divided by the number of scored words: the released caption loss. Counts are averaged
    over ranks, so that the averaged gradient is the one of the global batch.
    """
    check_share(alpha=alpha)
    # Softmax over the vocabulary loses digits that matter in half precision.
    losses, counts = next_word_losses(logits.float(), target, teacher, alpha, skip)
    losses, counts = losses.sum(dim=1), counts.sum(dim=1)
    if weight is not None:
        losses, counts = losses * weight, counts * weight
    if mean == "words":
        total = counts.sum()
    elif owner is not None:
        total = owner.max().to(losses.dtype) + 1
    else:
        total = torch.tensor(float(len(losses)), device=losses.device)
    return _averaged(losses.sum(), total)


@operation(inputs={"logits": "logits B classes", "target": "labels B"}, outputs="scalar")
def cross_entropy(
    logits: Float[Tensor, "b classes"], target: Int[Tensor, " b"], *, smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """``-log softmax(logits)[target]``, averaged over the rows of all ranks; negative targets do not count.

    ``smoothing`` spreads that share of each target over all classes (arXiv 1512.00567, section 7).
    """
    check_rate(smoothing=smoothing)
    counts = target >= 0
    losses = F.cross_entropy(logits.float(), target.clamp(min=0), reduction="none", label_smoothing=smoothing)
    return _averaged((losses * counts).sum(), counts.sum().to(losses.dtype))
