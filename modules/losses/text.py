"""Losses: scalars to be minimised."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from modules.losses.reduction import LossSum, count_of
from modules.packing import num_packed, positions_in_text
from modules.sizes import check_fraction, check_rate
from modules.streams import Text
from registry import UserError, operation


def next_token_losses(
    logits: Float[Tensor, "a l vocab"],
    target: Text,
    teacher: Float[Tensor, "a l vocab"] | None = None,
    alpha: float = 0.0,
    ignore_first: int = 0,
) -> tuple[Float[Tensor, "a next"], Float[Tensor, "a next"]]:
    """Cross-entropy of each next word and 1.0 where it counts (a real word, not one of the first
    ``ignore_first`` ids).

    With a teacher: ``(1 - alpha) ce + alpha * -sum_v softmax(teacher)_v log_softmax(logits)_v``.
    """
    # The logits at a word predict the next one: the last logits and the first id have no partner.
    predictions, words = logits[:, :-1], target.ids[:, 1:]
    # (a, next, vocab) -> (a * next, vocab) -> (a, next)
    losses = F.cross_entropy(
        predictions.flatten(0, 1), words.flatten(), reduction="none"
    )
    losses = losses.view(words.shape)
    if teacher is not None and alpha:
        # Use float32: softmax over the vocabulary is inaccurate in half precision. Detach the teacher: it
        # gets no gradient.
        soft_targets = F.softmax(teacher[:, :-1].detach().float(), dim=-1)
        log_probs = F.log_softmax(predictions, dim=-1)
        soft_losses = -(log_probs * soft_targets).sum(dim=-1)
        losses = (1 - alpha) * losses + alpha * soft_losses
    counts = token_counts(target, ignore_first)
    return losses * counts, counts


def token_counts(target: Text, ignore_first: int = 0) -> Float[Tensor, "a next"]:
    """Return 1.0 for each token that is predicted and scored: not padding, not among the first
    ``ignore_first``."""
    # The first id of a text, [CLS], is never predicted, also where another text precedes it in its row.
    is_scored = positions_in_text(target)[:, 1:] >= max(ignore_first, 1)
    return (target.mask[:, 1:] & is_scored).float()


def lm_count(
    target: Text,
    weight: Float[Tensor, " a"] | None = None,
    question_index: Int[Tensor, " a"] | None = None,
    *,
    ignore_first: int = 0,
    reduction: Literal["per_sequence", "per_token"] = "per_sequence",
) -> Float[Tensor, ""]:
    """Return what `lm_loss` divides by: scored tokens with their weights, owners, or sequences."""
    # Weights of sequences weigh their tokens in the count, too: a mean over tokens stays a mean.
    if reduction == "per_token":
        counts = token_counts(target, ignore_first).sum(dim=1)
        return (counts if weight is None else counts * weight).sum()
    # Owners are numbered from 0, and each has at least one sequence.
    if question_index is not None:
        return question_index.max().float() + 1
    # A packed row holds several texts.
    if target.parts is not None:
        return num_packed(target.parts)
    return count_of(len(target.ids), target.ids)


def class_count(target: Int[Tensor, "*rows"]) -> Float[Tensor, ""]:
    """Return the number of targets that count."""
    return (target >= 0).sum().float()


@operation(
    inputs={
        "logits": "logits A L vocab",
        "target": "text A L",
        "weight?": "weight A",
        "question_index?": "index A",
        "teacher?": "logits A L vocab",
    },
    outputs="scalar",
    off={"teacher": "alpha"},
    count=lm_count,
)
def lm_loss(
    logits: Float[Tensor, "a l vocab"],
    target: Text,
    weight: Float[Tensor, " a"] | None = None,
    question_index: Int[Tensor, " a"] | None = None,
    teacher: Float[Tensor, "a l vocab"] | None = None,
    *,
    alpha: float = 0.0,
    ignore_first: int = 0,
    reduction: Literal["per_sequence", "per_token"] = "per_sequence",
) -> LossSum:
    """Next-word cross-entropy, softened towards a teacher by ``alpha``; the first ``ignore_first`` ids, [CLS]
    counted, are not scored.

    ``reduction='per_sequence'``: words summed, times the sequence's ``weight``, summed, divided by the number
    of owners (questions), or of sequences where no ``question_index`` is given: the released video QA loss.
    ``reduction='per_token'``: divided by the number of scored words: the released caption loss.
    """
    check_fraction(alpha=alpha)
    # A weight belongs to a row, which holds several texts here.
    if target.parts is not None and (weight is not None or question_index is not None):
        raise UserError(
            "packed texts have no weight or question each. Remove `row_tokens` from the source"
        )
    # Softmax over the vocabulary loses digits that matter in half precision.
    losses, _ = next_token_losses(logits.float(), target, teacher, alpha, ignore_first)
    losses = losses.sum(dim=1)
    if weight is not None:
        losses = losses * weight
    count = lm_count(
        target, weight, question_index, ignore_first=ignore_first, reduction=reduction
    )
    return LossSum(losses.sum(), count)


# The mask of what counts follows from positions in each text, so packed rows are read correctly.
lm_loss.reads_packed = True  # type: ignore[attr-defined]


@operation(
    inputs={
        "logits": "logits B classes | logits B N classes",
        "target": "labels B | labels B N",
        "teacher?": "logits B classes | logits B N classes",
    },
    outputs="scalar",
    off={"teacher": "alpha"},
    count=class_count,
)
def cross_entropy(
    logits: Float[Tensor, "*rows classes"],
    target: Int[Tensor, "*targets"],
    teacher: Float[Tensor, "*rows classes"] | None = None,
    *,
    smoothing: float = 0.0,
    alpha: float = 0.0,
) -> LossSum:
    """``-log softmax(logits)[target]``, averaged over all targets of all ranks; negative ones do not count.

    A row has one target, or one for each of its positions. ``smoothing`` spreads that fraction of each target
    over all classes (arXiv 1512.00567, section 7). With a teacher:
    ``(1 - alpha) ce + alpha * -sum_c softmax(teacher)_c log_softmax(logits)_c``.
    """
    check_rate(smoothing=smoothing)
    check_fraction(alpha=alpha)
    if logits.shape[:-1] != target.shape:
        raise ValueError(
            f"target must have one class for each of the logits, {list(logits.shape[:-1])}, "
            f"but has the shape {list(target.shape)}"
        )
    # (*rows, classes) -> (rows, classes); half precision would lose digits that matter
    scores, classes = logits.float().flatten(0, -2), target.flatten()
    losses = F.cross_entropy(
        # A negative class has no column: any will do, since its loss is multiplied by 0 below.
        scores,
        classes.clamp(min=0),
        reduction="none",
        label_smoothing=smoothing,
    )
    if teacher is not None and alpha:
        soft_targets = F.softmax(teacher.detach().float(), dim=-1).flatten(0, -2)
        soft_losses = -(soft_targets * F.log_softmax(scores, dim=-1)).sum(dim=-1)
        losses = (1 - alpha) * losses + alpha * soft_losses
    return LossSum((losses * (classes >= 0)).sum(), class_count(target))
