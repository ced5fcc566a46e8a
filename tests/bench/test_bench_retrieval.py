"""The benchmark of retrieval measures what it says, and fits the power law that it is given."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from mplug2.bench.retrieval import Case, Figure, bench, exponent, growth, lines
from mplug2.cli.app import app
from registry import UserError


def test_the_exponent_of_a_power_law() -> None:
    assert exponent([(x, 3 * x**1.5) for x in (1.0, 4.0, 9.0)]) == pytest.approx(1.5)


def test_growth_by_items_and_by_k() -> None:
    def figure(items: int, k: int) -> Figure:
        return Figure(
            items * 0.001, items**2 * 1e-9, items * k * 1e-5, items * 10, 1000
        )

    cases = [Case(1000, 8), Case(4000, 8), Case(16000, 8), Case(4000, 64)]
    found = {case: [figure(*case)] for case in cases}
    by_items, by_k = growth(found)
    assert (
        by_items
        == "seconds grow as items ^ 1.00, those of re-ranking as items ^ 1.00 (at k = 8)"
    )
    assert (
        by_k
        == "seconds grow as k ^ 0.20, those of re-ranking as k ^ 1.00 (at items = 4,000)"
    )
    assert lines(found)[0][:2] == ["1,000", "8"]


@pytest.mark.slow
def test_a_small_case_from_the_command_line() -> None:
    done = CliRunner().invoke(
        app,
        [
            "bench",
            "retrieval",
            "--items",
            "60",
            "--items",
            "120",
            "--k",
            "4",
            "--rounds",
            "1",
        ],
    )
    assert done.exit_code == 0, done.output
    assert "seconds grow as items" in done.output and "120" in done.output


def test_a_case_that_fails_says_why() -> None:
    with pytest.raises(UserError, match="60 items, k = 0 failed"):
        bench([Case(60, 0)], rounds=1)


@pytest.mark.slow
def test_memory_beside_what_is_kept_hardly_grows() -> None:
    (few,), (many,) = bench([Case(1000, 16), Case(8000, 16)], rounds=1).values()
    assert many.held > 7 * few.held
    # the allocator scatters by some 20 MB; all similarities are 256 MB, the tokens of all pairs 819 MB
    assert many.above - few.above < 50e6
