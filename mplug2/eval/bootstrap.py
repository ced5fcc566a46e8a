"""The bootstrap: values of metrics over rows that are drawn with replacement, as often as there are rows.

Percentile intervals and paired differences of Efron and Tibshirani, An Introduction to the Bootstrap, 1993.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mplug2.metrics.metric import Metric, Row

CONFIDENCE = 0.95
MAX_ROUNDS, MIN_ROUNDS = 1000, 100
# Rows that are drawn in all rounds together: seconds of computing for a mean over rows.
MAX_DRAWN_ROWS = 20_000_000


@dataclass(frozen=True)
class Interval:
    """The middle 95 % of a value over the rounds."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """How much greater a value is in a second run than in a first, on the same samples.

    ``p`` is two-sided: twice the fraction of rounds without a difference, or with one the other way.
    """

    value: float
    interval: Interval
    p: float

    @property
    def is_real(self) -> bool:
        """Whether the interval excludes 0."""
        return self.interval.low > 0 or self.interval.high < 0


def num_rounds(num_rows: int) -> int:
    """Return how often rows are drawn: 1,000 times, of more than 20,000 rows less often, at least 100."""
    affordable = MAX_DRAWN_ROWS // max(num_rows, 1)
    return min(MAX_ROUNDS, max(MIN_ROUNDS, affordable))


def resampled_metrics(metrics: Sequence[Metric]) -> list[Metric]:
    """Return the metrics that can be computed hundreds of times: all but those with ``resampled = False``."""
    return [metric for metric in metrics if getattr(metric, "resampled", True)]


def resampled_values(
    metrics: Sequence[Metric], rows: Sequence[Row]
) -> dict[str, np.ndarray]:
    """Return each value of the metrics in each round [rounds], NaN where it cannot be measured.

    The rows must have the fields that ``score_row`` of the metrics adds. Equally many rows are drawn in the
    same way each time, so that values of two runs over the same samples are paired.
    """
    values: dict[str, list[float]] = {}
    rounds = num_rounds(len(rows))
    if not rows:
        return {}
    for number, drawn in enumerate(_draws(len(rows), rounds)):
        sample = [rows[index] for index in drawn]
        for metric in metrics:
            for name, value in metric.compute(sample).items():
                # A value that single rounds lack is not a number there.
                column = values.setdefault(name, [math.nan] * rounds)
                column[number] = value
    return {name: np.array(column) for name, column in values.items()}


def intervals(metrics: Sequence[Metric], rows: Sequence[Row]) -> dict[str, Interval]:
    """Return the interval of each value that can be resampled and was a number in most rounds."""
    intervals_by_name = {}
    values = resampled_values(resampled_metrics(metrics), rows)
    for name, column in values.items():
        interval = percentile_interval(column)
        if interval is not None:
            intervals_by_name[name] = interval
    return intervals_by_name


def percentile_interval(values: np.ndarray) -> Interval | None:
    """Return the middle 95 % of the values [rounds] that are numbers; None if fewer than half are."""
    numbers = values[np.isfinite(values)]
    if 2 * len(numbers) < len(values) or not len(numbers):
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(numbers, [tail, 1 - tail])
    return Interval(float(low), float(high))


def paired_difference(
    first: np.ndarray, second: np.ndarray, value: float
) -> Difference | None:
    """Return the difference of two runs from their values in the same rounds [rounds].

    ``value`` is the difference over all samples. None if most rounds have no number.
    """
    differences = second - first
    interval = percentile_interval(differences)
    if interval is None:
        return None
    numbers = differences[np.isfinite(differences)]
    fewer = min(int((numbers <= 0).sum()), int((numbers >= 0).sum()))
    # One is added to both counts, so that no number of rounds makes a probability of 0.
    p = min(1.0, 2 * (fewer + 1) / (len(numbers) + 1))
    return Difference(value, interval, p)


def _draws(num_rows: int, rounds: int) -> Iterator[list[int]]:
    """Yield the rows of each round by their numbers, the same ones in every process."""
    rng = np.random.default_rng(0)
    for _ in range(rounds):
        yield rng.integers(num_rows, size=num_rows).tolist()
