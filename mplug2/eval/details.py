"""What an evaluation shows in addition to its values: intervals, classes that are confused, and its worst errors."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from mplug2.eval.bootstrap import Interval, intervals, num_rounds
from mplug2.eval.confusion import Confusion, confusion_of
from mplug2.eval.predictions import without_fields
from mplug2.metrics.metric import Metric, Row


@dataclass(frozen=True)
class Details:
    """The intervals by the names of values, from ``rounds`` rounds; ``errors`` are rows, the worst first."""

    intervals: Mapping[str, Interval]
    rounds: int
    confusion: Confusion | None
    errors: Sequence[Row]


def details_of(
    metrics: Sequence[Metric],
    rows: Sequence[Row],
    num_errors: int,
    unwritten: Collection[str] = (),
) -> Details:
    """Return the details of rows that the metrics have scored; errors come without ``unwritten`` fields."""
    errors = without_fields(worst_errors(rows, num_errors), unwritten)
    return Details(
        intervals(metrics, rows), num_rounds(len(rows)), confusion_of(rows), errors
    )


def worst_errors(rows: Sequence[Row], number: int) -> list[Row]:
    """Return the ``number`` wrong predictions with the highest scores, the highest first.

    Rows without an answer or a score have no part in it, nor have files that could not be decoded.
    """
    errors = []
    for row in rows:
        score = row.get("score")
        has_score = isinstance(score, float | int) and math.isfinite(score)
        if has_score and not row.get("bad") and is_error(row):
            errors.append(row)
    errors.sort(key=lambda row: row["score"], reverse=True)
    return errors[:number]


def is_error(row: Row) -> bool:
    """Return whether a row with answers has a wrong prediction: by its ``correct`` mark, if it has one."""
    if "correct" in row:
        return not row["correct"]
    answers = row.get("answers", ())
    return len(answers) > 0 and row.get("prediction") not in answers
