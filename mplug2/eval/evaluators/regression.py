"""Real values: one number of each row, such as a similarity of two sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mplug2.eval.evaluators.rows import RowEvaluator
from mplug2.metrics.metric import Row
from registry import UserError


class Regression(RowEvaluator):
    """Rows with a number as ``prediction``; it has no score."""

    inputs = {"value": "scores B"}

    def fields(self, value: Any, records: Sequence[Row]) -> list[Row]:
        """Return ``prediction`` of each row, and None as ``score``."""
        numbers = (
            value.squeeze(-1)
            if isinstance(value, torch.Tensor) and value.ndim == 2
            else value
        )
        if not isinstance(numbers, torch.Tensor) or numbers.ndim != 1:
            raise UserError(
                f"goal output '{self.output}' must be numbers [rows], but is {type(value).__name__}"
            )
        return [
            {"prediction": number, "score": None} for number in numbers.float().tolist()
        ]
