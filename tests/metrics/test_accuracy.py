"""Exact match."""

from __future__ import annotations

import math

import pytest

from mplug2.metrics.accuracy import Accuracy, LabelAccuracy


@pytest.mark.parametrize(
    ("prediction", "answers", "correct"),
    [
        ("two", ["two"], True),
        (" Two ", ["two"], True),
        ("two", ["one", "TWO"], True),
        ("two dogs", ["two"], False),
        ("", ["two"], False),
    ],
)
def test_prediction_equals_an_answer(
    prediction: str, answers: list[str], correct: bool
) -> None:
    assert Accuracy().score_row({"prediction": prediction, "answers": answers}) == {
        "correct": correct
    }


def test_an_undecodable_file_is_wrong_whatever_was_said() -> None:
    assert Accuracy().score_row(
        {"prediction": "a", "answers": ["a"], "bad": "no frames"}
    ) == {"correct": False}


def test_the_mean_is_over_rows() -> None:
    assert Accuracy().compute(
        [{"correct": True}, {"correct": False}, {"correct": True}]
    )["accuracy"] == pytest.approx(2 / 3)
    assert math.isnan(Accuracy().compute([])["accuracy"])


def test_what_has_no_answers_is_not_measured() -> None:
    rows = [
        {"prediction": "two", "answers": answers}
        for answers in (["two"], [], ["one"], [])
    ]
    for row in rows:
        row.update(Accuracy().score_row(row))
    assert [row.get("correct") for row in rows] == [True, None, False, None]
    assert Accuracy().compute(rows) == {"accuracy": 0.5}
    assert math.isnan(Accuracy().compute(rows[1::2])["accuracy"])
    assert math.isnan(LabelAccuracy().compute(rows[1::2])["label_accuracy"])
