"""Patches: two logits of each patch of each row, whether a text speaks of it or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mplug2.eval.evaluators.rows import RowEvaluator
from mplug2.metrics.metric import Row
from registry import UserError


class Patches(RowEvaluator):
    """Rows with the probability of class 1 for each patch as ``prediction``, and the true ``patches``.

    They have no score.
    """

    inputs = {"patch_logits": "logits P N 2", "patches": "labels P N"}

    def update(self, outputs: Mapping[str, Any], records: Sequence[Row]) -> None:
        """Add a row for each record, with its true patches."""
        labels = outputs["patches"]
        if not isinstance(labels, torch.Tensor) or labels.ndim != 2:
            raise UserError(
                f"goal output 'patches' must be labels [rows patches], but is {type(labels).__name__}"
            )
        self.check_rows(len(labels), records)
        labelled = []
        for record, row in zip(records, labels.tolist(), strict=True):
            labelled.append({**record, "patches": row})
        super().update(outputs, labelled)

    def fields(self, value: Any, records: Sequence[Row]) -> list[Row]:
        """Return ``prediction`` of each row, and None as ``score``."""
        if (
            not isinstance(value, torch.Tensor)
            or value.ndim != 3
            or value.shape[2] != 2
        ):
            raise UserError(
                f"goal output '{self.output}' must be logits [rows patches 2], but is {type(value).__name__}"
            )
        probabilities = value.float().softmax(dim=-1)[..., 1]
        return [{"prediction": row, "score": None} for row in probabilities.tolist()]
