"""The bootstrap: against the binomial distribution, on pairs of runs, and where there is nothing to draw."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mplug2.eval.bootstrap import (
    Interval,
    intervals,
    num_rounds,
    paired_difference,
    percentile_interval,
    resampled_values,
)
from mplug2.metrics.accuracy import Accuracy
from mplug2.metrics.caption.metrics import Bleu, RougeL
from mplug2.metrics.metric import Row


def marked(*marks: bool) -> list[Row]:
    return [{"correct": mark} for mark in marks]


def test_the_interval_of_a_share_is_that_of_the_binomial_distribution() -> None:
    rows = marked(*[True] * 300, *[False] * 100)
    interval = intervals([Accuracy()], rows)["accuracy"]
    half = 1.96 * math.sqrt(0.75 * 0.25 / 400)
    assert interval.low == pytest.approx(0.75 - half, abs=0.01)
    assert interval.high == pytest.approx(0.75 + half, abs=0.01)


def test_the_middle_of_values_by_hand() -> None:
    # Of 0, 1, ..., 40 the quantiles 0.025 and 0.975 are the second and the last but one.
    interval = percentile_interval(np.arange(41.0))
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((1.0, 39.0))
    assert percentile_interval(np.array([math.nan, 2.0, 2.0])) == Interval(2.0, 2.0)
    assert percentile_interval(np.array([math.nan, math.nan, 2.0])) is None
    assert percentile_interval(np.array([])) is None


def test_the_same_rows_are_drawn_each_time_and_for_every_run() -> None:
    rows = marked(True, False, True, True, False)
    first = resampled_values([Accuracy()], rows)["accuracy"]
    assert (first == resampled_values([Accuracy()], rows)["accuracy"]).all()
    opposite = [{"correct": not row["correct"]} for row in rows]
    second = resampled_values([Accuracy()], opposite)["accuracy"]
    np.testing.assert_allclose(first + second, 1.0)


def test_fewer_rounds_of_many_rows() -> None:
    rounds = [num_rounds(rows) for rows in (0, 1, 20_000, 40_000, 10_000_000)]
    assert rounds == [1000, 1000, 1000, 500, 100]


def test_equal_runs_do_not_differ() -> None:
    values = np.linspace(0.4, 0.6, 99)
    difference = paired_difference(values, values, 0.0)
    assert difference is not None
    assert difference.interval == Interval(0.0, 0.0)
    assert difference.p == 1.0
    assert not difference.is_real


def test_a_small_difference_on_the_same_samples_is_real_though_the_intervals_overlap() -> (
    None
):
    rng = np.random.default_rng(0)
    first = rng.random(500) < 0.7
    second = first | (np.arange(500) % 10 == 0)  # corrects some rows, breaks none
    metrics = [Accuracy()]
    values = [
        resampled_values(metrics, marked(*run.tolist()))["accuracy"]
        for run in (first, second)
    ]
    gain = float(second.mean() - first.mean())
    difference = paired_difference(values[0], values[1], gain)
    assert difference is not None
    assert difference.is_real
    assert difference.p == pytest.approx(2 / 1001)
    singles = [percentile_interval(run) for run in values]
    assert singles[0] is not None
    assert singles[1] is not None
    assert singles[0].high > singles[1].low


def test_p_counts_rounds_the_other_way() -> None:
    first, second = np.zeros(9), np.array([1.0, 1, 1, 1, 1, 1, 1, -1, 0])
    difference = paired_difference(first, second, 0.5)
    assert difference is not None
    # Two of nine rounds are not above 0: 2 * (2 + 1) / (9 + 1).
    assert difference.p == pytest.approx(0.6)
    assert not difference.is_real
    assert paired_difference(np.full(4, math.nan), np.zeros(4), 0.0) is None


def test_slow_metrics_have_no_interval_and_no_rows_have_none() -> None:
    row: dict[str, Any] = {
        "prediction": "a dog",
        "references": ["a dog"],
        "rouge_l": 1.0,
    }
    assert set(intervals([Bleu(), RougeL()], [row, row])) == {"rouge_l"}
    assert intervals([RougeL()], []) == {}
