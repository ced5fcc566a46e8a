"""The most confident errors of an evaluation: which rows are errors, and in what order."""

from __future__ import annotations

from typing import Any

from mplug2.eval.details import details_of, worst_errors
from mplug2.metrics.accuracy import LabelAccuracy
from mplug2.metrics.metric import score_rows


def row(prediction: str, score: float, **more: Any) -> dict[str, Any]:
    return {"answers": ["cat"], "prediction": prediction, "score": score, **more}


def test_the_highest_scores_come_first_and_right_ones_not_at_all() -> None:
    rows = [
        row("dog", 0.4),
        row("dog", 0.9),
        row("cat", 1.0),
        row("dog", 0.99, bad="broken"),
        row("dog", float("nan")),
        row("dog", 0.95, answers=[]),
        row("Cat ", 0.8, correct=True),
        row("cat", 0.7, correct=False),
        {"prediction": 1.0, "value": 2.0, "score": 0.9},
    ]
    errors = worst_errors(rows, 10)
    assert [error["score"] for error in errors] == [0.9, 0.7, 0.4]
    assert worst_errors(rows, 1) == [rows[1]]


def test_details_of_scored_rows() -> None:
    rows = [row("cat", 0.9), row("dog", 0.8, probabilities=[0.2, 0.8])]
    metrics = [LabelAccuracy()]
    score_rows(metrics, rows)
    details = details_of(metrics, rows, 5, unwritten=("probabilities",))
    assert details.intervals["label_accuracy"].low == 0.0
    assert details.intervals["label_accuracy"].high == 1.0
    assert details.confusion is not None
    assert [error["prediction"] for error in details.errors] == ["dog"]
    assert "probabilities" not in details.errors[0]
