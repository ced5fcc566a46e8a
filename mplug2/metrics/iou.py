"""How well boxes fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

ENOUGH = 0.5  # the intersection over union from which a box counts as found, in all published results


class IoU:
    """Fraction of boxes with an intersection over union of at least 0.5, and its mean over samples.

    Prediction and the record's ``box`` are left, top, right, bottom as fractions of the same image.
    """

    inputs = {"box": "boxes Q 4"}
    outputs = {"iou_accuracy": "scalar", "mean_iou": "scalar"}

    def score_row(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return ``{"iou": number, "correct": bool}``; a file that cannot be decoded (``bad``) is wrong."""
        overlap = 0.0 if row.get("bad") else iou(row["prediction"], row["box"])
        return {"iou": overlap, "correct": overlap >= ENOUGH}

    def compute(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``{"iou_accuracy": share found, "mean_iou": mean}``, not numbers where there are no rows."""
        count = len(rows)
        return {
            "iou_accuracy": sum(row["correct"] for row in rows) / count
            if count
            else float("nan"),
            "mean_iou": sum(row["iou"] for row in rows) / count
            if count
            else float("nan"),
        }


def iou(one: Sequence[float], other: Sequence[float]) -> float:
    """The area that two boxes share, divided by the area that either covers; 0 where neither has any."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    inner = max(width, 0.0) * max(height, 0.0)
    union = (
        sum(max(b[2] - b[0], 0.0) * max(b[3] - b[1], 0.0) for b in (one, other)) - inner
    )
    return inner / union if union > 0 else 0.0
