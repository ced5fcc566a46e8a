"""Pearson's and Spearman's correlation and other ways to compute them, on random cases with ties."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
import pytest

from mplug2.metrics.correlation import pearson, spearman

NUM_CASES = 1000


def rows_of(predicted: Any, true: Any) -> list[dict[str, Any]]:
    return [
        {"prediction": left, "value": right}
        for left, right in zip(predicted, true, strict=True)
    ]


def mean_ranks(numbers: list[float]) -> list[float]:
    """Count by comparing all pairs: smaller numbers, and half of the equal ones."""
    ranks = []
    for number in numbers:
        smaller = sum(other < number for other in numbers)
        equal = sum(other == number for other in numbers)
        ranks.append(smaller + (equal + 1) / 2)
    return ranks


def test_random_cases_agree_with_the_definitions() -> None:
    rng = np.random.default_rng(0)
    num_measured = 0
    for _ in range(NUM_CASES):
        num_rows = int(rng.integers(2, 30))
        predicted = rng.normal(size=num_rows).round(int(rng.integers(3))).tolist()
        true = rng.integers(6, size=num_rows).astype(float).tolist()
        rows = rows_of(predicted, true)
        if len(set(predicted)) == 1 or len(set(true)) == 1:
            assert math.isnan(pearson(rows)["pearson"]) and math.isnan(
                spearman(rows)["spearman"]
            )
            continue
        num_measured += 1
        assert pearson(rows)["pearson"] == pytest.approx(
            statistics.correlation(predicted, true), abs=1e-9
        )
        expected = statistics.correlation(mean_ranks(predicted), mean_ranks(true))
        assert spearman(rows)["spearman"] == pytest.approx(expected, abs=1e-9)
    assert num_measured > NUM_CASES / 2


def test_an_example_of_scipy() -> None:
    rows = rows_of([1.0, 2.0, 3.0, 4.0, 5.0], [5.0, 6.0, 7.0, 8.0, 7.0])
    assert spearman(rows)["spearman"] == pytest.approx(0.8207826816681233)


def test_large_offsets_and_small_numbers_lose_no_digits() -> None:
    numbers = np.arange(5.0)
    assert pearson(rows_of(numbers * 1e-200, numbers))["pearson"] == pytest.approx(1.0)
    assert pearson(rows_of(numbers + 1e9, -numbers))["pearson"] == pytest.approx(-1.0)


def test_rows_without_values_are_not_counted() -> None:
    rows = [*rows_of([1.0, 2.0], [2.0, 1.0]), {"prediction": 9.0}]
    assert pearson(rows) == {"pearson": pytest.approx(-1.0)}
    assert math.isnan(spearman(rows[2:])["spearman"])
