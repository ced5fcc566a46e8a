"""Boxes: four numbers of each row, as fractions of the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mplug2.eval.evaluators.rows import RowEvaluator
from mplug2.metrics.metric import Row
from registry import UserError


class Boxes(RowEvaluator):
    """Rows with a box (left, top, right, bottom) as ``prediction``; boxes have no score."""

    inputs = {"box": "boxes B 4"}

    def fields(self, value: Any, records: Sequence[Row]) -> list[Row]:
        """Return ``prediction`` of each row, and None as ``score``."""
        if (
            not isinstance(value, torch.Tensor)
            or value.ndim != 2
            or value.shape[1] != 4
        ):
            raise UserError(
                f"goal output '{self.output}' must be boxes [rows 4], but is {type(value).__name__}"
            )
        return [{"prediction": box, "score": None} for box in value.float().tolist()]
