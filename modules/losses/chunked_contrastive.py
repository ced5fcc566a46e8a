"""Losses between all pairs of a batch without the matrix of all pairs: some rows of it at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from modules.distributed import all_gather_rows, own_rows
from modules.losses.contrastive import Temperature, shares
from modules.recompute import checkpoint_layer
from modules.sizes import check_sizes

Chunk = tuple[slice, Tensor, Tensor | None]


class ChunkedContrastive(Temperature):
    """The loss of `contrastive` over the batch of all ranks, ``chunk`` rows of the similarities at a time.

    Loss and gradients are those of the complete matrix. Similarities are not kept: the backward pass computes
    them again. Rows of one ``group`` are partners of each other. Released ``logit_scale`` or ``temp``.
    """

    inputs = {"vision": "vector B width", "text": "vector B width", "group?": "index B"}
    outputs = {"loss": "scalar"}

    def __init__(
        self,
        temperature: float = 0.07,
        clamp: Literal["albef", "clip", "none"] = "albef",
        learn: Literal["temperature", "log_scale"] = "temperature",
        chunk: int = 512,
    ) -> None:
        super().__init__(temperature, clamp, learn)
        check_sizes(chunk=chunk)
        self.chunk = chunk

    def forward(
        self,
        vision: Float[Tensor, "b width"],
        text: Float[Tensor, "b width"],
        group: Int[Tensor, " b"] | None = None,
    ) -> dict[str, Tensor]:
        """Return the mean of both cross-entropies, in float32."""
        temperature = self.bounded()
        partners = _Partners(len(vision), group, vision.device)
        # Before they are gathered: products in half precision would lose the differences of similarities.
        vision, text = vision.float(), text.float()
        total = vision.new_zeros(())
        for queries, keys in (
            (vision, all_gather_rows(text)),
            (text, all_gather_rows(vision)),
        ):
            for rows, columns, groups in partners.chunks(self.chunk):
                chunk = (queries[rows], keys, temperature)
                labels = (columns, groups, partners.all_groups)
                # Always recomputed: that is what keeps the matrix of all pairs out of memory.
                total = total + checkpoint_layer(
                    _cross_entropy, *chunk, *labels, recompute="all"
                )
        return {"loss": total / (2 * len(vision))}


class SigmoidContrastive(nn.Module):
    """SigLIP's loss: each pair of the batch of all ranks is one binary decision (arXiv 2303.15343, eq. 1).

    ``-sum(log sigmoid(z (scale v t' + bias))) / batch``, z = 1 for partners (of one ``group``) and -1 for all
    others. ``scale`` is learned as ``log_scale``; it and ``bias`` begin as published, at 10 and -10.
    ``chunk`` rows are computed at a time, and again in the backward pass.
    """

    inputs = {"vision": "vector B width", "text": "vector B width", "group?": "index B"}
    outputs = {"loss": "scalar"}

    def __init__(
        self, scale: float = 10.0, bias: float = -10.0, chunk: int = 512
    ) -> None:
        super().__init__()
        check_sizes(chunk=chunk)
        if not scale > 0:
            raise ValueError(f"scale must be above 0, but is {scale}")
        self.chunk = chunk
        self.log_scale = nn.Parameter(torch.full((1,), math.log(scale)))
        self.bias = nn.Parameter(torch.full((1,), float(bias)))

    def forward(
        self,
        vision: Float[Tensor, "b width"],
        text: Float[Tensor, "b width"],
        group: Int[Tensor, " b"] | None = None,
    ) -> dict[str, Tensor]:
        """Return the loss of each row's decisions, averaged over rows, in float32."""
        partners = _Partners(len(vision), group, vision.device)
        # One way is enough: a pair of (image, text) is one decision, not two.
        vision, keys = vision.float(), all_gather_rows(text.float())
        scale, bias = self.log_scale.float().exp(), self.bias.float()
        total = vision.new_zeros(())
        for rows, columns, groups in partners.chunks(self.chunk):
            chunk = (vision[rows], keys, scale, bias)
            labels = (columns, groups, partners.all_groups)
            total = total + checkpoint_layer(
                _decisions, *chunk, *labels, recompute="all"
            )
        return {"loss": total / len(vision)}


class _Partners:
    """Which columns belong to the rows of this rank: those of their group, or the column of each row."""

    def __init__(self, count: int, group: Tensor | None, device: torch.device) -> None:
        # Row i of this rank is column `columns[i]` of the batch of all ranks.
        self.columns = own_rows(count, device)
        self.group = group
        self.all_groups = None if group is None else all_gather_rows(group)

    def chunks(self, size: int) -> Iterator[Chunk]:
        """Yield the rows of each chunk, the columns of the same number in the batch, and their groups."""
        for start in range(0, len(self.columns), size):
            rows = slice(start, start + size)
            groups = None if self.group is None else self.group[rows]
            yield rows, self.columns[rows], groups


def _positives(
    columns: Tensor, groups: Tensor | None, all_groups: Tensor | None, count: int
) -> Bool[Tensor, "rows count"]:
    """Return which of ``count`` columns are partners of each row."""
    if groups is None or all_groups is None:
        return columns[:, None] == torch.arange(count, device=columns.device)
    return groups[:, None] == all_groups


def _cross_entropy(
    queries: Tensor,
    keys: Tensor,
    temperature: Tensor,
    columns: Tensor,
    groups: Tensor | None,
    all_groups: Tensor | None,
) -> Float[Tensor, ""]:
    """Return the sum of the cross-entropies of some rows."""
    similarity = queries @ keys.T / temperature
    # Class numbers need no matrix of targets.
    if groups is None:
        return F.cross_entropy(similarity, columns, reduction="sum")
    target = shares(_positives(columns, groups, all_groups, len(keys)))
    return F.cross_entropy(similarity, target, reduction="sum")


def _decisions(
    vision: Tensor,
    keys: Tensor,
    scale: Tensor,
    bias: Tensor,
    columns: Tensor,
    groups: Tensor | None,
    all_groups: Tensor | None,
) -> Float[Tensor, ""]:
    """Return the sum of the binary losses of some rows."""
    logits = vision @ keys.T * scale + bias
    # (rows, columns): 1 for partners, -1 for all others.
    signs = torch.where(_positives(columns, groups, all_groups, len(keys)), 1.0, -1.0)
    return -F.logsigmoid(signs * logits).sum()
