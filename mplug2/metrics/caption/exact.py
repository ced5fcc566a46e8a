"""Exact match of captions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mplug2.metrics.caption.ptb import tokenize


class ExactMatch:
    """Fraction of captions that equal one of their references, both as the PTB tokenizer writes them."""

    inputs = {"caption": "sequences B n"}
    outputs = {"exact_match": "scalar"}

    def score_row(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return ``{"exact": bool}``: whether the caption of this row is one of its references."""
        caption = tokenize(row["prediction"])
        references = [tokenize(text) for text in row["references"]]
        return {"exact": not row.get("bad") and caption in references}

    def compute(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``{"exact_match": share}``, not a number where there are no rows."""
        return {
            "exact_match": sum(row["exact"] for row in rows) / len(rows)
            if rows
            else math.nan
        }
