"""Operations on scores: softmax, standardization, mixing the rows of a batch, and the highest class."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from registry import operation

LEAST_STD = 1e-6  # what a row of equal values is divided by


@operation(inputs={"scores": "scores|logits B S"}, outputs="scores B S")
def softmax(
    scores: Float[Tensor, "b s"], *, temperature: float = 1.0
) -> Float[Tensor, "b s"]:
    """Return ``softmax(scores / temperature)`` of each row, in full precision."""
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, but is {temperature}")
    return F.softmax(scores.float() / temperature, dim=-1)


@operation(inputs={"logits": "scores|logits B N classes"}, outputs="scores B N classes")
def log_softmax(logits: Float[Tensor, "b n classes"]) -> Float[Tensor, "b n classes"]:
    """Return ``log softmax(logits)`` over the classes of each position, in full precision."""
    return F.log_softmax(logits.float(), dim=-1)


@operation(inputs={"scores": "scores|logits B N classes"}, outputs="scores B N")
def standardize(
    scores: Float[Tensor, "b n classes"], *, channel: int = 0
) -> Float[Tensor, "b n"]:
    """Return ``(x - mean(x)) / std(x)`` over each row of one channel of the last axis, in full precision.

    std is that of a sample: squares are divided by N - 1. A row of equal values becomes zeros.
    """
    channels = scores.shape[-1]
    if not 0 <= channel < channels:
        raise ValueError(f"channel must be 0 to {channels - 1}, but is {channel}")
    chosen = scores[..., channel].float()
    centered = chosen - chosen.mean(dim=-1, keepdim=True)
    # Not `torch.std`, which is NaN for a row of one value.
    degrees = max(centered.shape[-1] - 1, 1)
    variance = centered.square().sum(dim=-1, keepdim=True) / degrees
    return centered / variance.sqrt().clamp(min=LEAST_STD)


@operation(
    inputs={
        "rows": "scores|logits B S",
        "partner": "index B -> B",
        "share": "weight|scores B",
    },
    outputs="scores B S",
)
def mix_rows(
    rows: Float[Tensor, "b s"], partner: Int[Tensor, " b"], share: Float[Tensor, " b"]
) -> Float[Tensor, "b s"]:
    """Return ``share[i] * rows[i] + (1 - share[i]) * rows[partner[i]]`` as row i, in full precision."""
    # (b) -> (b, 1): one share for all scores of a row.
    rows, weights = rows.float(), share.float()[:, None]
    return torch.lerp(rows[partner], rows, weights)


@operation(inputs={"scores": "scores|logits|vector B classes"}, outputs="labels B")
def best_class(
    scores: Float[Tensor, "b classes"], *, first: int = 0
) -> Int[Tensor, " b"]:
    """Return the class with the highest score, one of ``first``, ``first + 1``, ...

    ``first=1`` leaves out class 0: the background of a detector.
    """
    if not 0 <= first < scores.shape[-1]:
        raise ValueError(f"first must be 0 to {scores.shape[-1] - 1}, but is {first}")
    return scores[:, first:].argmax(dim=-1) + first
