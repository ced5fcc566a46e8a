"""F1 and Matthews' correlation and other ways to compute them, on random cases."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mplug2.metrics.classes import label_f1, label_macro_f1, matthews
from registry import UserError

NUM_CASES = 1000


def rows_of(true: Any, predicted: Any, num_classes: int) -> list[dict[str, Any]]:
    names = [f"class {number}" for number in range(num_classes)]
    rows = []
    for answer, prediction in zip(true, predicted, strict=True):
        rows.append(
            {
                "answers": [names[answer]],
                "prediction": names[prediction],
                "classes": names,
            }
        )
    return rows


def f1_by_precision_and_recall(
    true: np.ndarray, predicted: np.ndarray, label: int
) -> float:
    """As scikit-learn defines it, with zero_division=0."""
    hits = float(((true == label) & (predicted == label)).sum())
    precision = hits / max(int((predicted == label).sum()), 1)
    recall = hits / max(int((true == label).sum()), 1)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def matthews_by_covariance(
    true: np.ndarray, predicted: np.ndarray, num_classes: int
) -> float:
    """Gorodkin's R_K: covariances of the indicators of all classes."""
    left, right = np.eye(num_classes)[true], np.eye(num_classes)[predicted]
    left, right = left - left.mean(axis=0), right - right.mean(axis=0)
    spread = math.sqrt((left**2).sum() * (right**2).sum())
    return float((left * right).sum()) / spread if spread > 1e-12 else 0.0


def test_random_cases_agree_with_the_definitions() -> None:
    rng = np.random.default_rng(0)
    for _ in range(NUM_CASES):
        num_classes, num_rows = int(rng.integers(2, 5)), int(rng.integers(1, 30))
        # Few rows: many cases have classes that never occur, or occur only among the predictions.
        true, predicted = rng.integers(num_classes, size=(2, num_rows))
        rows = rows_of(true, predicted, num_classes)
        expected = matthews_by_covariance(true, predicted, num_classes)
        assert matthews(rows)["matthews"] == pytest.approx(expected, abs=1e-12)
        occurring = sorted({*true.tolist(), *predicted.tolist()})
        parts = [
            f1_by_precision_and_recall(true, predicted, label) for label in occurring
        ]
        assert label_macro_f1(rows)["label_macro_f1"] == pytest.approx(
            sum(parts) / len(parts)
        )
        if num_classes == 2:
            expected = f1_by_precision_and_recall(true, predicted, 1)
            assert label_f1(rows)["label_f1"] == pytest.approx(expected)


def test_examples_of_scikit_learn() -> None:
    rows = rows_of([1, 1, 1, 0], [1, 0, 1, 1], 2)
    assert matthews(rows)["matthews"] == pytest.approx(-1 / 3)
    rows = rows_of([0, 1, 2, 0, 1, 2], [0, 2, 1, 0, 0, 1], 3)
    assert label_macro_f1(rows)["label_macro_f1"] == pytest.approx(0.26666666666666666)


def test_rows_without_answers_are_not_counted_and_undecodable_files_are_wrong() -> None:
    unanswered = {
        "answers": [],
        "prediction": "class 1",
        "classes": ["class 0", "class 1"],
    }
    for measure in (label_f1, label_macro_f1, matthews):
        assert all(math.isnan(value) for value in measure([unanswered]).values())
    rows = [*rows_of([1, 1], [1, 1], 2), unanswered]
    assert label_f1(rows) == {"label_f1": 1.0}
    rows[0]["bad"] = "no frames"
    assert label_f1(rows)["label_f1"] == pytest.approx(2 / 3)
    assert label_macro_f1(rows)["label_macro_f1"] == pytest.approx(2 / 3)


def test_f1_of_one_class_needs_two_classes() -> None:
    with pytest.raises(
        UserError, match=r"needs two classes \(got 3\). Use label_macro_f1"
    ):
        label_f1(rows_of([0, 1], [0, 2], 3))
