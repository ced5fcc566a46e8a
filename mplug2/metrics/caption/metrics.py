"""The caption metrics as an evaluation calls them: `eval: {metrics: [cider, bleu4, rouge_l, meteor]}`.

A row has the caption that was generated (``prediction``) and those it is measured against (``references``).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

from mplug2.metrics.caption import java
from mplug2.metrics.caption.bleu import bleu
from mplug2.metrics.caption.cider import CiderD
from mplug2.metrics.caption.ngrams import Grams, ngrams
from mplug2.metrics.caption.ptb import tokenize
from mplug2.metrics.caption.rouge import rouge_l
from mplug2.metrics.caption.scores import ONE_ITEM
from registry.errors import UserError

log = logging.getLogger(__name__)


class Cider:
    """CIDEr as the COCO caption tools compute it (CIDEr-D), document frequencies from the rows."""

    inputs = {"caption": "sequences B n"}
    outputs = {"cider": "scalar"}
    resampled = False

    def compute(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``{"cider": mean}``, not a number where there are no rows; 0, with a warning, for one row."""
        if not rows:
            return {"cider": math.nan}
        if len(rows) == 1:
            log.warning("WARNING: cider: %s", ONE_ITEM)
        return {
            "cider": _mean(CiderD.of_grams(_references(rows)).score_grams(_grams(rows)))
        }


class Bleu:
    """BLEU-4 to BLEU-1 of the corpus, from 0 to 1."""

    inputs = {"caption": "sequences B n"}
    outputs = {
        "bleu4": "scalar",
        "bleu3": "scalar",
        "bleu2": "scalar",
        "bleu1": "scalar",
    }
    resampled = False

    def compute(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``{"bleu4": ..., "bleu1": ...}``, not numbers where there are no rows."""
        values = bleu(_grams(rows), _references(rows)) if rows else [math.nan] * 4
        return {f"bleu{order}": values[order - 1] for order in (4, 3, 2, 1)}


class RougeL:
    """ROUGE-L, from 0 to 1, the mean over rows."""

    inputs = {"caption": "sequences B n"}
    outputs = {"rouge_l": "scalar"}

    def score_row(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return ``{"rouge_l": value of this row}``."""
        references = [tokenize(text).split() for text in row["references"]]
        return {"rouge_l": rouge_l(_caption(row).split(), references)}

    def compute(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``{"rouge_l": mean}``, not a number where there are no rows."""
        return {
            "rouge_l": _mean([row["rouge_l"] for row in rows]) if rows else math.nan
        }


class Meteor:
    """METEOR 1.5 of the corpus, from 0 to 1; needs Java, and fails without it before anything is
    evaluated."""

    inputs = {"caption": "sequences B n"}
    outputs = {"meteor": "scalar"}
    resampled = False

    def __init__(self) -> None:
        try:
            java.require_java("METEOR")
        except java.Unavailable as reason:
            raise UserError(str(reason)) from None

    def compute(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``{"meteor": value}``, not a number where there are no rows, or where Java fails (a warning)."""
        if not rows:
            return {"meteor": math.nan}
        said = {str(index): _caption(row) for index, row in enumerate(rows)}
        given = {
            str(index): [tokenize(text) for text in row["references"]]
            for index, row in enumerate(rows)
        }
        try:
            return {"meteor": java.meteor(said, given)}
        except java.Unavailable as reason:
            log.warning("%s", reason)
            return {"meteor": math.nan}


def _caption(row: dict[str, Any]) -> str:
    """Return the tokens of a prediction; none for a file that cannot be decoded."""
    return "" if row.get("bad") else tokenize(row["prediction"])


def _grams(rows: Sequence[dict[str, Any]]) -> list[Grams]:
    return [ngrams(_caption(row).split()) for row in rows]


def _references(rows: Sequence[dict[str, Any]]) -> list[list[Grams]]:
    return [
        [ngrams(tokenize(text).split()) for text in row["references"]] for row in rows
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
