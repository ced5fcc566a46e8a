"""A metric: values of the rows that the built-in evaluator of `logits` makes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


class Within:
    """The fractions of rows whose predicted count is correct, and wrong by at most 1."""

    inputs = {"label": "logits B classes"}
    outputs = {"within_0": "scalar", "within_1": "scalar"}

    def compute(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Return both fractions, NaN without rows."""
        errors = [abs(int(row["prediction"]) - int(row["answers"][0])) for row in rows]
        if not errors:
            return dict.fromkeys(self.outputs, math.nan)
        within_0 = sum(error == 0 for error in errors) / len(errors)
        within_1 = sum(error <= 1 for error in errors) / len(errors)
        return {"within_0": within_0, "within_1": within_1}
