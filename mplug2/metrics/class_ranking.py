"""Metrics of classes: top-1 and top-5, mean accuracy over classes, mean average precision of labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from mplug2.metrics.metric import ResultTable, Row, TrainRecords, metric

MAX_LINES = 50  # classes of a printed table


class TopK:
    """Fraction of rows with a correct class as the most probable one, and among the five most probable ones.

    Of equally probable classes the later one comes first (as scikit-learn's ``top_k_accuracy_score``). A file
    that could not be decoded counts as wrong; rows without answers do not count.
    """

    inputs = {"label": "logits B classes"}
    outputs = {"top1": "scalar", "top5": "scalar"}
    needs = ("probabilities", "classes")

    def score_row(self, row: Row) -> Row:
        """Return ``{"class_rank": rank}`` of the most probable correct class from 0, None if there is none.

        Nothing for a row without answers. An undecodable file has no rank.
        """
        if not row["answers"]:
            return {}
        if row.get("bad"):
            return {"class_rank": None}
        order = np.argsort(row["probabilities"], kind="stable")[::-1]
        for rank, index in enumerate(order):
            if row["classes"][index] in row["answers"]:
                return {"class_rank": rank}
        return {"class_rank": None}

    def compute(self, rows: Sequence[Row]) -> dict[str, float]:
        """Return ``{"top1": ..., "top5": ...}`` from the ranks, NaN if no row has answers."""
        ranks = [row["class_rank"] for row in rows if "class_rank" in row]
        if not ranks:
            return {"top1": math.nan, "top5": math.nan}
        found = [rank for rank in ranks if rank is not None]
        return {
            "top1": sum(rank < 1 for rank in found) / len(ranks),
            "top5": sum(rank < 5 for rank in found) / len(ranks),
        }


class MeanClassAccuracy:
    """Mean over classes of the fraction of their rows that is predicted correctly: scikit-learn's
    ``balanced_accuracy_score``. Classes without rows do not count."""

    inputs = {"label": "logits B classes"}
    outputs = {"mean_class_accuracy": "scalar"}

    def compute(self, rows: Sequence[Row]) -> dict[str, float]:
        """Return ``{"mean_class_accuracy": mean}``, NaN if no row has a class."""
        accuracies = [accuracy for _, accuracy in _by_class(rows).values()]
        return {
            "mean_class_accuracy": sum(accuracies) / len(accuracies)
            if accuracies
            else math.nan
        }

    def tables(
        self,
        values: Mapping[str, float],
        rows: Sequence[Row],
        train_records: TrainRecords,
    ) -> list[ResultTable]:
        """Return the accuracy of each class; of many classes the worst ones."""
        by_class = _by_class(rows)
        if not by_class:
            return []
        lines = [
            (name, count, accuracy)
            for name, (count, accuracy) in sorted(by_class.items())
        ]
        title = "accuracy by class"
        if len(lines) > MAX_LINES:
            lines = sorted(lines, key=lambda line: line[2])[:MAX_LINES]
            title = f"accuracy by class: the worst {MAX_LINES} of {len(by_class)}"
        return [
            ResultTable(
                title, ("class", "samples", "accuracy"), ("", "d", ".1%"), tuple(lines)
            )
        ]


def _by_class(rows: Sequence[Row]) -> dict[str, tuple[int, float]]:
    """Return for each class its rows and the fraction of them that is predicted correctly."""
    hits: dict[str, list[bool]] = {}
    for row in rows:
        for answer in row["answers"]:
            hits.setdefault(answer, []).append(
                row["prediction"] == answer and not row.get("bad")
            )
    return {name: (len(marks), sum(marks) / len(marks)) for name, marks in hits.items()}


@metric(
    inputs={"label": "logits B classes"},
    outputs={"mean_average_precision": "scalar"},
    needs=["probabilities", "classes"],
)
def mean_average_precision(rows: Sequence[Row]) -> dict[str, float]:
    """Mean over classes of the average precision of ranking all rows by a class: mAP of several labels.

    As scikit-learn's ``average_precision_score``: rows of equal probability are one step. Classes that no row
    has do not count. A file that could not be decoded comes last.
    """
    if not rows:
        return {"mean_average_precision": math.nan}
    table = np.stack([row["probabilities"] for row in rows])
    table[[bool(row.get("bad")) for row in rows]] = -1.0
    precisions = []
    for index, name in enumerate(rows[0]["classes"]):
        positives = np.array([name in row["answers"] for row in rows])
        if positives.any():
            precisions.append(average_precision(table[:, index], positives))
    return {
        "mean_average_precision": sum(precisions) / len(precisions)
        if precisions
        else math.nan
    }


def average_precision(scores: np.ndarray, positives: np.ndarray) -> float:
    """Return ``sum_n (R_n - R_{n-1}) P_n`` over the thresholds n, the distinct scores in falling order."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(positives[order])
    last_of_ties = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    precision = hits[last_of_ties] / (last_of_ties + 1)
    recall = hits[last_of_ties] / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))
