"""Exact match of the answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


class Accuracy:
    """The share of rows whose prediction equals an answer, both stripped and in lower case; over samples, not
    batches.

    This is the measure of the released video question answering results. Rows without answers (test splits)
    are not counted.
    """

    inputs = {"answer": "sequences Q n"}
    outputs = {"accuracy": "scalar"}

    def mark(self, row: dict[str, Any]) -> dict[str, Any]:
        """``{"correct": bool}``; of a file that could not be decoded (``bad``) all is wrong; nothing without
        answers."""
        if not row["answers"]:
            return {}
        return {
            "correct": not row.get("bad")
            and _plain(row["prediction"]) in {_plain(answer) for answer in row["answers"]}
        }

    def compute(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``{"accuracy": share of correct rows}``, not a number where no row has answers."""
        marks = [row["correct"] for row in rows if "correct" in row]
        return {"accuracy": sum(marks) / len(marks) if marks else math.nan}


class LabelAccuracy(Accuracy):
    """The share of rows whose likeliest class is the label; over samples, not batches."""

    inputs = {"label": "logits Q classes"}
    outputs = {"label_accuracy": "scalar"}

    def compute(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``{"label_accuracy": share of correct rows}``, not a number where no row has a label."""
        return {"label_accuracy": super().compute(rows)["accuracy"]}


def _plain(text: str) -> str:
    return text.strip().lower()
