"""Generated text: the best sequence of each row, decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modules.streams import Sequences
from mplug2.eval.evaluator import Decode
from mplug2.eval.evaluators.rows import RowEvaluator
from mplug2.metrics.metric import Metric, Row
from registry import UserError
from registry.evaluations import EvaluationSpec


class Generation(RowEvaluator):
    """Rows with the best generated text as ``prediction`` and its score, which the search computed."""

    inputs = {"text": "sequences B n"}

    def __init__(
        self, *, decode: Decode, metrics: Sequence[Metric], settings: EvaluationSpec
    ) -> None:
        super().__init__(metrics=metrics, settings=settings)
        self.decode = decode

    def fields(self, value: Any, records: Sequence[Row]) -> list[Row]:
        """Return ``prediction`` and ``score`` of each row."""
        if not isinstance(value, Sequences):
            raise UserError(
                f"goal output '{self.output}' must be generated sequences, but is {type(value).__name__}"
            )
        best_ids = value.ids[:, 0].tolist()
        best_scores = value.scores[:, 0].tolist()
        rows = []
        for ids, score in zip(best_ids, best_scores, strict=True):
            rows.append({"prediction": self.decode(ids), "score": score})
        return rows
