"""The loss of masked words as sums and counts of each text, to be measured and not trained on."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from registry import operation


@operation(
    inputs={"logits": "logits M vocab", "target": "labels M", "labels": "labels B L"},
    outputs={
        "loss_sum": "weight B",
        "num_tokens": "weight B",
        "num_correct": "weight B",
    },
)
def masked_loss(
    logits: Float[Tensor, "m vocab"],
    target: Int[Tensor, " m"],
    labels: Int[Tensor, "b l"],
) -> dict[str, Float[Tensor, " b"]]:
    """Summed cross-entropy of the masked tokens of each text (nats), how many they are, how many are right.

    ``logits`` and ``target`` are those of the positions with a label (`select_labelled`), in their order;
    the row of each follows from ``labels``. The metrics `perplexity` and `token_accuracy` measure the
    outputs.
    """
    # Row numbers in the order of the positions, row by row: that of `select_labelled`.
    rows = (labels >= 0).nonzero()[:, 0]
    if len(rows) != len(target):
        raise ValueError(
            f"target must have one class for each of {len(rows)} labels (got {len(target)})"
        )
    # Softmax over the vocabulary loses digits that matter in half precision.
    losses = F.cross_entropy(logits.float(), target, reduction="none")
    correct = (logits.argmax(dim=-1) == target).float()
    sums = {
        "loss_sum": losses,
        "num_tokens": torch.ones_like(losses),
        "num_correct": correct,
    }
    # Texts without a masked word keep 0. `index_add` is not in place: each output starts from zeros.
    zeros = torch.zeros(len(labels), device=losses.device)
    return {name: zeros.index_add(0, rows, values) for name, values in sums.items()}


def _dry_masked_loss(logits: Tensor, target: Tensor, labels: Tensor) -> dict[str, Any]:
    rows = torch.zeros(len(labels), device=labels.device)
    return {"loss_sum": rows, "num_tokens": rows.clone(), "num_correct": rows.clone()}


# On the meta device labels have no value, so nothing can be assigned to rows there.
masked_loss.dry_run = _dry_masked_loss  # type: ignore[attr-defined]
