"""The benchmark of saving: both kinds of saves are measured, and the table has their medians."""

from __future__ import annotations

import pytest

from mplug2.bench.saving import Figures, bench, lines

TINY = "configs_text/clm_bytes_tiny.yaml"


def test_the_median_of_all_rounds_counts() -> None:
    figures = Figures(1.0, [2.0, 4.0, 3.0], [0.2, 0.2, 0.6], [2.5, 4.5, 3.5])
    assert figures.ratio == pytest.approx(0.1)
    assert lines(figures) == [
        ("at once", "3.000", "3.000"),
        ("in the background", "0.200", "3.500"),
    ]


def test_both_kinds_are_measured_in_every_round() -> None:
    seen: list[str] = []
    figures = bench(TINY, rounds=2, on_progress=seen.append)
    assert seen == ["warm-up", "round 1 of 2", "round 2 of 2"]
    for seconds in (figures.at_once, figures.waiting, figures.complete):
        assert len(seconds) == 2
        assert min(seconds) > 0
    assert figures.gigabytes > 0
