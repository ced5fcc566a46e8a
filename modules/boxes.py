"""Boxes as words: four coordinate tokens, the loss over them, and reading them back (mPLUG's grounding).

A box is left, top, right, bottom as fractions of the image. Its tokens are a prefix id, then the ids of
centre x, centre y, width and height, each one of ``bins`` ids that follow the prefix.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from modules.decoder import TextDecoder
from modules.losses.reduction import LossSum, count_of
from modules.search.common import eval_no_grad
from modules.streams import Sequences, Text, Tokens
from registry import operation

PREFIX, BINS = (
    344,
    337,
)  # BERT's [unused339], and [unused340] to [unused676]: as released
ROUNDING = 1e-4  # a coordinate this little below a bin belongs to it: halving and adding have rounded it down
EPS = 1e-5  # released, in both divisions of the generalised IoU


def xyxy_to_cxcywh(box: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 4"]:
    """Left, top, right, bottom as centre x, centre y, width, height."""
    low, high = box[..., :2], box[..., 2:]
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def cxcywh_to_xyxy(box: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 4"]:
    """Centre x, centre y, width, height as left, top, right, bottom."""
    centre, half = box[..., :2], box[..., 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def overlap(
    boxes1: Float[Tensor, "b 4"], boxes2: Float[Tensor, "b 4"], eps: float = 0.0
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """IoU and generalised IoU (arXiv 1902.09630) of pairs of boxes."""
    low = torch.maximum(boxes1[:, :2], boxes2[:, :2])
    high = torch.minimum(boxes1[:, 2:], boxes2[:, 2:])
    # Boxes that do not meet have a negative side here, and no common area.
    inner = (high - low).clamp(min=0).prod(dim=1)
    area1 = (boxes1[:, 2:] - boxes1[:, :2]).prod(dim=1)
    area2 = (boxes2[:, 2:] - boxes2[:, :2]).prod(dim=1)
    union = area1 + area2 - inner
    # The generalised IoU compares with the smallest box around both.
    low = torch.minimum(boxes1[:, :2], boxes2[:, :2])
    high = torch.maximum(boxes1[:, 2:], boxes2[:, 2:])
    outer = (high - low).clamp(min=0).prod(dim=1)
    iou = inner / (union + eps)
    return iou, iou - (outer - union) / (outer + eps)


def coordinates(
    ids: Int[Tensor, "*b 4"], bins: int, prefix: int
) -> Float[Tensor, "*b 4"]:
    """Return the values of coordinate ids: centre x, centre y, width, height in [0, 1]."""
    # Ids outside the coordinates are clamped: a decoder may write any word.
    return (ids - prefix - 1).clamp(0, bins - 1).float() / (bins - 1)


def among(
    logits: Float[Tensor, "*b vocab"], bins: int, prefix: int
) -> Float[Tensor, "*b bins"]:
    """The logits of the coordinate ids alone, in float32."""
    _check_room(logits.shape[-1], bins, prefix)
    return logits[..., prefix + 1 : prefix + 1 + bins].float()


def _check_room(vocab: int, bins: int, prefix: int) -> None:
    if not (prefix >= 0 and bins > 1 and prefix + bins < vocab):
        raise ValueError(
            f"prefix must be 0 or more, bins at least 2, both together less than the vocabulary ({vocab}), "
            f"but prefix is {prefix} and bins is {bins}"
        )


@operation(inputs={"box": "boxes B 4"}, outputs="text B 5")
def encode_boxes(
    box: Float[Tensor, "b 4"], *, bins: int = BINS, prefix: int = PREFIX
) -> Text:
    """Write boxes as ``prefix`` and four ids, ``prefix + 1 + floor(c * (bins - 1))`` for a coordinate c."""
    centres = xyxy_to_cxcywh(box.float()).clamp(0, 1)
    bin_numbers = (centres * (bins - 1) + ROUNDING).floor().long()
    # (b, 4) -> (b, 5): the prefix comes first, as [CLS] does in a text
    ids = F.pad(bin_numbers + prefix + 1, (1, 0), value=prefix)
    return Text(ids, torch.ones_like(ids, dtype=torch.bool))


@operation(inputs={"sequences": "sequences B n"}, outputs="boxes B 4")
def decode_boxes(
    sequences: Sequences, *, bins: int = BINS, prefix: int = PREFIX
) -> Float[Tensor, "b 4"]:
    """Read the best text of each row, a prefix and four coordinate ids, as a box within the image."""
    # The search writes the best text first; its first id is the prefix.
    best = sequences.ids[:, 0, 1:5]
    box = cxcywh_to_xyxy(coordinates(best, bins, prefix))
    # A wide box near an edge may leave the image.
    return box.clamp(0, 1)


def box_count(box: Float[Tensor, "b 4"]) -> Float[Tensor, ""]:
    """Return the number of boxes."""
    return count_of(len(box), box)


@operation(
    inputs={"logits": "logits B 5 vocab", "target": "text B 5", "box": "boxes B 4"},
    outputs="scalar",
    count=box_count,
)
def box_loss(
    logits: Float[Tensor, "b 5 vocab"],
    target: Text,
    box: Float[Tensor, "b 4"],
    *,
    weights: Literal["elementwise", "released", "none"] = "elementwise",
    bins: int = BINS,
    prefix: int = PREFIX,
) -> LossSum:
    """Cross-entropy of the coordinates among coordinates, weighted by the error of the most probable box.

    ``'elementwise'``: ``mean(ce[i, k] * l1[i, k] * g[i])`` with ``l1`` the distance of each coordinate and
    ``g = 1 - GIoU``, both without gradient. ``'released'``: the published code multiplies [B, 1, 4] by
    [B, 4], so that a row's cross-entropy is weighted by the errors of all rows. ``'none'``: the plain mean.
    """
    # Per row: four cross-entropies, four distances, and one factor for the box.
    ce, l1, far = box_errors(logits, target, box, bins, prefix)
    if weights == "none":
        total = ce.mean(dim=1).sum()
    elif weights == "elementwise":
        total = (ce * l1 * far[:, None]).mean(dim=1).sum()
    else:
        total = (ce.sum(dim=0) * (l1 * far[:, None]).mean(dim=0)).mean()
    return LossSum(total, box_count(box))


def box_errors(
    logits: Float[Tensor, "b 5 vocab"],
    target: Text,
    box: Float[Tensor, "b 4"],
    bins: int,
    prefix: int,
) -> tuple[Float[Tensor, "b 4"], Float[Tensor, "b 4"], Float[Tensor, " b"]]:
    """Cross-entropy of each coordinate, its distance and ``1 - GIoU`` of the most probable box, these
    without gradient."""
    scores = among(logits[:, :-1], bins, prefix)
    # (b, 4, bins) -> (b, bins, 4), as cross_entropy wants classes
    bin_numbers = target.ids[:, 1:] - prefix - 1
    ce = F.cross_entropy(scores.transpose(1, 2), bin_numbers, reduction="none")
    # Weights of the loss, not terms of it: argmax has no gradient anyway.
    with torch.no_grad():
        guess = coordinates(scores.argmax(dim=-1) + prefix + 1, bins, prefix)
        l1 = (guess - xyxy_to_cxcywh(box.float())).abs().clamp(0, 5)
        far = 1 - overlap(cxcywh_to_xyxy(guess), box.float(), EPS)[1]
    return ce, l1, far


@operation(
    inputs={"decoder": "module", "memory": "tokens B M width"}, outputs="sequences B 1"
)
@eval_no_grad
def box_search(
    decoder: TextDecoder, memory: Tokens, *, bins: int = BINS, prefix: int = PREFIX
) -> Sequences:
    """Generate the most probable box: after ``prefix``, four times the most probable coordinate id.

    The score is the sum of their log-probabilities among coordinates.
    """
    _check_room(decoder.vocab_size, bins, prefix)
    samples, device = memory.values.shape[0], memory.values.device
    state = decoder.init_cache(memory)
    ids = torch.full((samples, 1), prefix, dtype=torch.long, device=device)
    token_logprobs = torch.zeros(samples, 1, device=device)
    for _ in range(4):
        logits = decoder.decode(ids[:, None, -1:], state)[:, 0, -1]
        logprobs = among(logits, bins, prefix).log_softmax(dim=-1)
        best_logprob, best_bin = logprobs.max(dim=-1, keepdim=True)
        ids = torch.cat([ids, best_bin + prefix + 1], dim=1)
        token_logprobs = torch.cat([token_logprobs, best_logprob], dim=1)
    # One text for each sample: (b, 5) -> (b, 1, 5)
    score = token_logprobs.sum(dim=1, keepdim=True)
    return Sequences(ids[:, None], score, token_logprobs[:, None])
