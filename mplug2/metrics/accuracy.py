"""Exact match of the answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mplug2.metrics.breakdown import accuracy_by_type
from mplug2.metrics.metric import ResultTable, Row, TrainRecords


class Accuracy:
    """Fraction of rows whose prediction equals an answer, both stripped and in lower case; over samples, not
    batches.

    This is the measure of the released video question answering results. Rows without answers (test splits)
    are not counted.
    """

    inputs = {"answer": "sequences Q n"}
    outputs = {"accuracy": "scalar"}

    def score_row(self, row: Row) -> Row:
        """Return ``{"correct": bool}``, or nothing for a row without answers.

        A file that could not be decoded (``bad``) counts as wrong, whatever was predicted.
        """
        if not row["answers"]:
            return {}
        answers = {_normalized(answer) for answer in row["answers"]}
        return {
            "correct": not row.get("bad") and _normalized(row["prediction"]) in answers
        }

    def compute(self, rows: Sequence[Row]) -> dict[str, float]:
        """Return ``{"accuracy": fraction of correct rows}``, NaN if no row has answers."""
        correct = [row["correct"] for row in rows if "correct" in row]
        return {"accuracy": sum(correct) / len(correct) if correct else math.nan}

    def tables(
        self,
        values: Mapping[str, float],
        rows: Sequence[Row],
        train_records: TrainRecords,
    ) -> list[ResultTable]:
        """Return the accuracy by type of question."""
        return accuracy_by_type(rows, train_records)


class LabelAccuracy(Accuracy):
    """Fraction of rows whose most probable class is the label; over samples, not batches."""

    inputs = {"label": "logits Q classes"}
    outputs = {"label_accuracy": "scalar"}

    def compute(self, rows: Sequence[Row]) -> dict[str, float]:
        """Return ``{"label_accuracy": fraction of correct rows}``, NaN if no row has a label."""
        return {"label_accuracy": super().compute(rows)["accuracy"]}


def _normalized(text: str) -> str:
    return text.strip().lower()
