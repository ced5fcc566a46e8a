"""Classes from logits: the most probable class of each row, and on request all probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mplug2.eval.evaluators.rows import RowEvaluator
from mplug2.metrics.metric import Metric, Row, needed_fields
from registry import UserError
from registry.training import EvaluationSpec


class Classification(RowEvaluator):
    """Rows with the name of the most probable class as ``prediction`` and its probability as ``score``.

    A metric with ``needs = ("probabilities", "classes")`` gets rows with the probabilities of all classes
    (a float32 array) and their names, for top-5, mAP or AUC. These fields are not written to files.
    """

    inputs = {"label": "logits B classes"}
    unwritten = ("probabilities", "classes")

    def __init__(self, *, metrics: Sequence[Metric], settings: EvaluationSpec) -> None:
        super().__init__(metrics=metrics, settings=settings)
        # All probabilities of all rows may take gigabytes: they are kept only for metrics that ask.
        self.needed = needed_fields(metrics)

    def fields(self, value: Any, records: Sequence[Row]) -> list[Row]:
        """Return ``prediction`` and ``score`` of each row, with the fields that metrics need."""
        if not isinstance(value, torch.Tensor) or value.ndim != 2:
            raise UserError(
                f"goal output '{self.output}' must be logits of classes [rows classes], "
                f"but is {type(value).__name__}"
            )
        self.check_rows(len(value), records)
        probabilities = value.float().softmax(dim=-1)
        best_scores, best_classes = probabilities.max(dim=-1)
        arrays = probabilities.cpu().numpy()
        rows: list[Row] = []
        results = zip(best_classes.tolist(), best_scores.tolist(), arrays, strict=True)
        for record, (index, score, array) in zip(records, results, strict=True):
            names = record.get("classes", ())
            row: Row = {"prediction": names[index] if index < len(names) else str(index), "score": score}
            if "probabilities" in self.needed:
                row["probabilities"] = array
            if "classes" in self.needed:
                row["classes"] = names
            rows.append(row)
        return rows
