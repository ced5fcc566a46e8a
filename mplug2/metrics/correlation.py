"""Correlations of predicted and true numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mplug2.metrics.metric import Row, metric


def _columns(rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
    """Return the predicted and the true numbers of the rows that have one."""
    measured = [row for row in rows if "value" in row]
    predicted = np.array([row["prediction"] for row in measured], dtype=np.float64)
    true = np.array([row["value"] for row in measured], dtype=np.float64)
    return predicted, true


def correlation(left: np.ndarray, right: np.ndarray) -> float:
    """Return Pearson's r of two columns; NaN for fewer than two rows, or if a column is constant."""
    if len(left) < 2 or np.ptp(left) == 0 or np.ptp(right) == 0:
        return math.nan
    left, right = left - left.mean(), right - right.mean()
    # The squares of very small numbers would underflow.
    left, right = left / np.abs(left).max(), right / np.abs(right).max()
    left, right = left / np.linalg.norm(left), right / np.linalg.norm(right)
    return float(np.clip(left @ right, -1.0, 1.0))


def ranks(numbers: np.ndarray) -> np.ndarray:
    """Return the rank of each number from 1; equal numbers share the mean of their ranks."""
    _, group, sizes = np.unique(numbers, return_inverse=True, return_counts=True)
    last = sizes.cumsum()
    return (last - (sizes - 1) / 2)[group]


@metric(inputs={"value": "scores B"}, outputs={"pearson": "scalar"})
def pearson(rows: Sequence[Row]) -> dict[str, float]:
    """Pearson's correlation of predicted and true numbers; NaN if one of them is constant."""
    return {"pearson": correlation(*_columns(rows))}


@metric(inputs={"value": "scores B"}, outputs={"spearman": "scalar"})
def spearman(rows: Sequence[Row]) -> dict[str, float]:
    """Spearman's rank correlation: Pearson's of the ranks; equal numbers share their mean rank."""
    predicted, true = _columns(rows)
    return {"spearman": correlation(ranks(predicted), ranks(true))}
