"""Classes from logits: the most probable class of each row, and on request all probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch

from mplug2.eval.evaluators.rows import RowEvaluator
from mplug2.metrics.metric import Metric, Row, needed_fields
from registry import UserError
from registry.evaluations import EvaluationSpec


class Classification(RowEvaluator):
    """Rows with the name of the most probable class as ``prediction`` and its probability as ``score``.

    A metric with ``needs = ("probabilities", "classes")`` gets rows with the probabilities of all classes
    (a float32 array) and their names, for top-5, mAP or AUC. These fields are not written to files.
    ``scores``: probabilities of one class (softmax), or of several independent labels (sigmoid).
    Records with a ``view`` (0, 1, ...) are views of one file, in this order: they become one row, with the
    mean of their probabilities.
    """

    inputs = {"label": "logits B classes"}
    unwritten = ("probabilities", "classes")

    def __init__(
        self,
        *,
        metrics: Sequence[Metric],
        settings: EvaluationSpec,
        scores: Literal["softmax", "sigmoid"] = "softmax",
    ) -> None:
        super().__init__(metrics=metrics, settings=settings)
        self.scores = scores
        self.one_row_per_record = True  # unless records are views
        # All probabilities of all rows may take gigabytes: they are kept only for metrics that ask.
        self.needed = needed_fields(metrics)

    def update(self, outputs: Mapping[str, Any], records: Sequence[Row]) -> None:
        """Add a row for each record, or for all views of one file."""
        name = self._name(outputs)
        probabilities = self._probabilities(outputs[name], records)
        if any("view" in record for record in records):
            self.one_row_per_record = False
            probabilities, records = average_views(probabilities, records)
        super().update({name: probabilities}, records)

    def _probabilities(self, value: Any, records: Sequence[Row]) -> torch.Tensor:
        if not isinstance(value, torch.Tensor) or value.ndim != 2:
            raise UserError(
                f"goal output '{self.output}' must be logits of classes [rows classes], "
                f"but is {type(value).__name__}"
            )
        self.check_rows(len(value), records)
        logits = value.float()
        return logits.softmax(dim=-1) if self.scores == "softmax" else logits.sigmoid()

    def fields(self, value: Any, records: Sequence[Row]) -> list[Row]:
        """Return ``prediction`` and ``score`` of each row of probabilities, with what metrics need."""
        probabilities: torch.Tensor = value
        best_scores, best_classes = probabilities.max(dim=-1)
        arrays = probabilities.cpu().numpy()
        rows: list[Row] = []
        results = zip(best_classes.tolist(), best_scores.tolist(), arrays, strict=True)
        for record, (index, score, array) in zip(records, results, strict=True):
            names = record.get("classes", ())
            row: Row = {
                "prediction": names[index] if index < len(names) else str(index),
                "score": score,
            }
            if "probabilities" in self.needed:
                row["probabilities"] = array
            if "classes" in self.needed:
                row["classes"] = names
            rows.append(row)
        return rows


def average_views(
    probabilities: torch.Tensor, records: Sequence[Row]
) -> tuple[torch.Tensor, list[Row]]:
    """Return the mean probabilities of the views of each file, and the record of its first view.

    The views of a file follow each other: each record with ``view`` 0 begins another file.
    """
    starts = [row for row, record in enumerate(records) if record["view"] == 0]
    means = []
    for start, end in zip(starts, [*starts[1:], len(records)], strict=True):
        means.append(probabilities[start:end].mean(dim=0))
    firsts = []
    for start in starts:
        first = dict(records[start])
        del first["view"]
        firsts.append(first)
    return torch.stack(means), firsts
