"""Top-1, top-5, mean accuracy over classes and mAP: by hand, by independent sums, and as scikit-learn."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest

from mplug2.metrics.class_ranking import (
    MeanClassAccuracy,
    TopK,
    average_precision,
    mean_average_precision,
)
from mplug2.metrics.metric import score_rows

NAMES = ["a", "b", "c", "d", "e", "f", "g"]
CASES = 1000


def row(probabilities: list[float], *answers: str, **more: Any) -> dict[str, Any]:
    array = np.array(probabilities, dtype=np.float32)
    names = NAMES[: len(probabilities)]
    prediction = names[int(array.argmax())]
    return {
        "probabilities": array,
        "classes": names,
        "answers": list(answers),
        "prediction": prediction,
        **more,
    }


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of few distinct values, so that many are tied, and labels that leave some classes empty."""
    rng = np.random.default_rng(seed)
    num_rows, num_classes = int(rng.integers(2, 12)), int(rng.integers(3, 8))
    scores = (rng.integers(0, 5, (num_rows, num_classes)) / 4).astype(np.float32)
    return scores, rng.integers(0, num_classes - 1, num_rows)


def rows_of(scores: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    return [
        row(line.tolist(), NAMES[label])
        for line, label in zip(scores, labels, strict=True)
    ]


def top_k(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Top-1 and top-5, as an evaluation computes them: rows are scored, then counted."""
    score_rows([TopK()], rows)
    return TopK().compute(rows)


def test_top_1_and_top_5_by_hand() -> None:
    falling = [0.7, 0.1, 0.08, 0.06, 0.04, 0.02]
    rows = [
        row(falling, "a"),
        row(falling, "e"),
        row(falling, "f"),
        row(falling, "a", bad="broken"),
    ]
    assert top_k(rows) == {"top1": 0.25, "top5": 0.5}
    assert (
        top_k([row([0.5, 0.5], "b")])["top1"] == 1.0
    )  # of a tie the later class comes first
    assert top_k([row([0.6, 0.4], "a", "b")])["top1"] == 1.0  # any of several labels
    assert all(math.isnan(value) for value in top_k([row([0.6, 0.4])]).values())


def test_mean_over_classes_by_hand() -> None:
    rows = [
        row([0.9, 0.1], "a"),
        row([0.9, 0.1], "a"),
        row([0.9, 0.1], "b"),
        row([0.1, 0.9], "b"),
    ]
    metric = MeanClassAccuracy()
    assert metric.compute(rows) == {"mean_class_accuracy": 0.75}
    (table,) = metric.tables({}, rows, lambda: None)
    assert table.rows == (("a", 2, 1.0), ("b", 2, 0.5))
    assert metric.tables({}, [row([0.9, 0.1])], lambda: None) == []
    assert metric.compute([row([0.9, 0.1], "a", bad="broken")]) == {
        "mean_class_accuracy": 0.0
    }


def test_average_precision_by_hand() -> None:
    # places 1 and 3 of four: (1/1 + 2/3) / 2
    positives = np.array([True, False, True, False])
    assert average_precision(
        np.array([0.9, 0.8, 0.7, 0.1]), positives
    ) == pytest.approx(5 / 6)
    # all tied: precision is the fraction of positives
    assert average_precision(np.zeros(4), positives) == pytest.approx(0.5)
    rows = [
        row([0.9, 0.2, 0.0], "a", "b"),
        row([0.1, 0.8, 0.0], "b"),
        row([0.5, 0.9, 0.0]),
    ]
    # class a: place 1 of 3; class b: places 3 and 2 of 3 by 0.9, 0.8, 0.2; no row has class c
    expected = (1 + (1 / 2 + 2 / 3) / 2) / 2
    assert mean_average_precision(rows)["mean_average_precision"] == pytest.approx(
        expected
    )
    assert math.isnan(mean_average_precision([])["mean_average_precision"])


def _precision_by_thresholds(scores: np.ndarray, positives: np.ndarray) -> float:
    """Average precision as it is defined: a sum over thresholds, each with its own count."""
    total, recall_before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        taken = scores >= threshold
        recall = (taken & positives).sum() / positives.sum()
        total += (recall - recall_before) * (taken & positives).sum() / taken.sum()
        recall_before = recall
    return float(total)


def test_average_precision_of_random_cases_is_the_sum_over_thresholds() -> None:
    for seed in range(CASES):
        scores, labels = random_case(seed)
        positives = labels == labels[0]
        expected = _precision_by_thresholds(scores[:, 0], positives)
        assert average_precision(scores[:, 0], positives) == pytest.approx(expected), (
            seed
        )


def test_random_cases_agree_with_scikit_learn() -> None:
    sklearn = pytest.importorskip(
        "sklearn.metrics", reason="scikit-learn is not installed"
    )
    for seed in range(CASES):
        scores, labels = random_case(seed)
        rows, numbers = rows_of(scores, labels), range(scores.shape[1])
        values = (
            top_k(rows)
            | MeanClassAccuracy().compute(rows)
            | mean_average_precision(rows)
        )
        for name, k in (("top1", 1), ("top5", 5)):
            if k < scores.shape[1]:
                expected = sklearn.top_k_accuracy_score(
                    labels, scores, k=k, labels=list(numbers)
                )
                assert values[name] == pytest.approx(expected), seed
        # Classes that are predicted but have no row: scikit-learn warns of them and leaves them out.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = sklearn.balanced_accuracy_score(labels, scores.argmax(axis=1))
        assert values["mean_class_accuracy"] == pytest.approx(expected), seed
        present = [index for index in numbers if (labels == index).any()]
        precisions = [
            sklearn.average_precision_score(labels == index, scores[:, index])
            for index in present
        ]
        assert values["mean_average_precision"] == pytest.approx(np.mean(precisions)), (
            seed
        )
