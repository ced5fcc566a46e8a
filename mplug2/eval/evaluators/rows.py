"""What evaluators share that make one row of each record from one output of the evaluated goal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mplug2.eval.evaluator import required_inputs
from mplug2.metrics.metric import Metric, Row
from registry import UserError
from registry.evaluations import EvaluationSpec


class RowEvaluator(ABC):
    """One row for each record: the record itself, with what `fields` reads out of the measured output."""

    outputs: ClassVar[dict[str, str]] = {}  # All values are those of metrics.
    one_row_per_record = True

    def __init__(self, *, metrics: Sequence[Metric], settings: EvaluationSpec) -> None:
        self.settings = settings
        self.output = measured_output(metrics, settings)
        self.rows: list[Row] = []

    @property
    def goals(self) -> tuple[str, ...]:
        """The goal of the evaluation."""
        return (self.settings.goal,)

    @abstractmethod
    def fields(self, value: Any, records: Sequence[Row]) -> list[Row]:
        """Return the measured output of each record, as fields of its row."""

    def update(self, outputs: Mapping[str, Any], records: Sequence[Row]) -> None:
        """Add a row for each record."""
        name = self._name(outputs)
        predictions = self.fields(outputs[name], records)
        self.check_rows(len(predictions), records)
        for record, prediction in zip(records, predictions, strict=True):
            row = {**record, **prediction}
            if "classes" not in prediction:
                row.pop(
                    "classes", None
                )  # The names of all classes would be repeated in every row.
            self.rows.append(row)

    def compute(self) -> tuple[dict[str, float], list[Row]]:
        """Return the rows of this rank; the metrics compute the values."""
        return {}, self.rows

    def check_rows(self, num_rows: int, records: Sequence[Row]) -> None:
        """Raise `ValueError` if the measured output has more or fewer rows than there are records."""
        if num_rows != len(records):
            raise ValueError(
                f"goal output '{self.output}' must have a row per record ({len(records)}), but has {num_rows}"
            )

    def _name(self, outputs: Mapping[str, Any]) -> str:
        """Return the measured output: that of the metrics, or without metrics the only one there is."""
        if self.output in outputs:
            return self.output
        if self.output:
            raise UserError(
                f"a metric needs the goal output {self.output!r}, but the goal gives {', '.join(outputs)}"
            )
        if len(outputs) != 1:
            raise UserError(
                f"{self.settings.label}: goal '{self.settings.goal}' gives {', '.join(outputs)}. "
                "Name a metric of the output that is meant: `metrics: [...]`"
            )
        return next(iter(outputs))


def measured_output(metrics: Sequence[Metric], settings: EvaluationSpec) -> str:
    """Return the one output that all metrics measure, '' without metrics; `UserError` if there are several.

    A row holds one prediction, so metrics of two outputs would measure each other's.
    """
    names: dict[str, None] = {}
    for metric in metrics:
        names.update(dict.fromkeys(required_inputs(metric)))
    if len(names) > 1:
        raise UserError(
            f"{settings.label}.metrics must measure one output of the goal, but measure "
            f"{' and '.join(map(repr, names))}: name the metrics of one, and evaluate again for the other"
        )
    return next(iter(names), "")
