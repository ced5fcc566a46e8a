"""The benchmark of generation: what it compares is equal, and what it counts is right."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from mplug2.bench import generate
from mplug2.bench.generate import Sizes, bench
from mplug2.cli.app import app
from registry import UserError

SMALL = Sizes(width=16, depth=2, memory=9, batch=2, beams=3, length=4, candidates=6)


def test_both_ways_find_the_same() -> None:
    search, ranking = bench(SMALL, rounds=2)
    assert (search.task, ranking.task) == ("beam search", "ranking")
    assert [len(search.engine), len(search.plain)] == [2, 2]
    assert search.floor > 1.0 and ranking.floor > 1.0


def test_what_a_token_of_memory_costs() -> None:
    """4 w^2 operations a layer for keys and values, and 4 w for each query that looks at them."""
    (less, _), (more, _) = bench(SMALL), bench(replace(SMALL, memory=10))
    samples, layers, width = 2, 2, 16
    # the engine: once a sample; [CLS] is read once, then three words of three beams
    each = samples * layers * (4 * width**2 + 4 * width * (1 + 3 * 3))
    assert more.engine_flops - less.engine_flops == each
    # plain: for three beams at four steps; at each step all words again
    each = samples * layers * 3 * (4 * 4 * width**2 + 4 * width * (1 + 2 + 3 + 4))
    assert more.plain_flops - less.plain_flops == each


def test_another_result_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        generate, "plain_rank", lambda *_: torch.zeros(2, 6, dtype=torch.long)
    )
    with pytest.raises(
        UserError, match="ranking: the engine's result must be that of plain decoding"
    ):
        bench(SMALL)


def test_the_command_prints_a_table() -> None:
    words = [
        "--width=16",
        "--depth=1",
        "--memory=5",
        "--beams=2",
        "--length=3",
        "--candidates=4",
        "--clock=processor",
    ]
    done = CliRunner().invoke(app, ["bench", "generate", *words])
    assert done.exit_code == 0, done.output
    assert "ranking" in done.output and "faster" in done.output
