"""What every metric promises to the evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Row = dict[str, Any]


class Metric(Protocol):
    """Judges rows: one row a sample, its record together with what the network said (``prediction``,
    ``score``)."""

    inputs: Mapping[str, str]  # the goal output that it judges, and its port: {"answer": "sequences Q n"}
    outputs: Mapping[
        str, str
    ]  # its values, the main one first, "?" on what some data lack: {"iou": "scalar"}

    def mark(self, row: Row) -> Row:
        """What this metric has to say of one row, to stand beside it in the predictions; may be empty."""

    def compute(self, rows: Sequence[Row]) -> dict[str, float]:
        """The values over all rows, the main one first; larger is better."""
