"""The caption metrics as an evaluation calls them: `eval: {metrics: [cider, bleu, rouge_l, meteor]}`.

A row has the caption that was generated (``prediction``) and those it is measured against (``references``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mplug2.metrics.caption import java
from mplug2.metrics.caption.bleu import bleu
from mplug2.metrics.caption.cider import CiderD
from mplug2.metrics.caption.ngrams import Grams, ngrams
from mplug2.metrics.caption.ptb import tokenize
from mplug2.metrics.caption.rouge import rouge_l
from registry.errors import UserError


class Cider:
    """CIDEr as the COCO caption tools compute it (CIDEr-D, from 0 to 10); document frequencies are the rows' own."""

    inputs = {"caption": "sequences B n"}

    def mark(self, row: dict[str, Any]) -> dict[str, Any]:
        """Nothing: a row's value depends on the references of all."""
        return {}

    def compute(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``{"CIDEr": mean}``, not a number where there are no rows."""
        return {
            "CIDEr": _mean(CiderD.of_grams(_references(rows)).score_grams(_grams(rows))) if rows else math.nan
        }


class Bleu:
    """BLEU-4 to BLEU-1 of the corpus, from 0 to 1."""

    inputs = {"caption": "sequences B n"}

    def mark(self, row: dict[str, Any]) -> dict[str, Any]:
        """Nothing: matches are summed over all rows before they are divided."""
        return {}

    def compute(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``{"BLEU-4": ..., "BLEU-1": ...}``, not numbers where there are no rows."""
        values = bleu(_grams(rows), _references(rows)) if rows else [math.nan] * 4
        return {f"BLEU-{order}": values[order - 1] for order in (4, 3, 2, 1)}


class RougeL:
    """ROUGE-L, from 0 to 1, the mean over rows."""

    inputs = {"caption": "sequences B n"}

    def mark(self, row: dict[str, Any]) -> dict[str, Any]:
        """``{"rouge_l": value of this row}``."""
        references = [tokenize(text).split() for text in row["references"]]
        return {"rouge_l": rouge_l(_caption(row).split(), references)}

    def compute(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``{"ROUGE-L": mean}``, not a number where there are no rows."""
        return {"ROUGE-L": _mean([row["rouge_l"] for row in rows]) if rows else math.nan}


class Meteor:
    """METEOR 1.5 of the corpus, from 0 to 1; needs Java, and says so before anything is evaluated."""

    inputs = {"caption": "sequences B n"}

    def __init__(self) -> None:
        try:
            java.require_java("METEOR")
        except java.Unavailable as reason:
            raise UserError(str(reason)) from None

    def mark(self, row: dict[str, Any]) -> dict[str, Any]:
        """Nothing: the program scores the corpus."""
        return {}

    def compute(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``{"METEOR": value}``, not a number where there are no rows or the program fails."""
        if not rows:
            return {"METEOR": math.nan}
        said = {str(index): _caption(row) for index, row in enumerate(rows)}
        given = {str(index): [tokenize(text) for text in row["references"]] for index, row in enumerate(rows)}
        return {"METEOR": java.meteor(said, given)}


def _caption(row: dict[str, Any]) -> str:
    """The tokens of what was said; of a file that could not be decoded nothing was."""
    return "" if row.get("bad") else tokenize(row["prediction"])


def _grams(rows: Sequence[dict[str, Any]]) -> list[Grams]:
    return [ngrams(_caption(row).split()) for row in rows]


def _references(rows: Sequence[dict[str, Any]]) -> list[list[Grams]]:
    return [[ngrams(tokenize(text).split()) for text in row["references"]] for row in rows]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
