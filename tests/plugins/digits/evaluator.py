"""An evaluator without rows: sums and counts of each rank, added up at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mplug2.runtime import distributed
from registry.evaluations import EvaluationSpec


class CountError:
    """The mean absolute error of the predicted counts, and their mean."""

    outputs = {"mean_error": "scalar", "mean_count": "scalar"}
    smaller_is_better = ("mean_error",)
    one_row_per_record = False

    def __init__(self, *, settings: EvaluationSpec) -> None:
        self.settings = settings
        self.sum_of_errors = self.sum_of_counts = self.num_rows = 0.0

    @property
    def goals(self) -> tuple[str, ...]:
        """The goal of the evaluation."""
        return (self.settings.goal,)

    def update(self, outputs: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> None:
        """Add the rows of a batch, without repeated ones."""
        predictions = outputs["label"].argmax(dim=-1).tolist()
        for prediction, record in zip(predictions, records, strict=True):
            if not record.get("padding"):
                self.sum_of_errors += abs(prediction - int(record["answers"][0]))
                self.sum_of_counts += prediction
                self.num_rows += 1

    def compute(self) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """Return the means over all ranks, and no rows."""
        errors, counts, rows = distributed.all_reduce_sum(
            self.sum_of_errors, self.sum_of_counts, self.num_rows
        )
        return {"mean_error": errors / rows, "mean_count": counts / rows}, []
