"""The benchmark of the start: its commands run, and its table holds ratios within a round."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from mplug2.bench import start
from mplug2.bench.start import BARE, TORCH, bench, lines
from mplug2.cli.app import app
from registry import UserError

TINY = "configs_video/VideoQA_shapes_tiny.yaml"


def test_ratios_are_taken_within_a_round() -> None:
    figures = {BARE: [1.0, 2.0, 4.0], TORCH: [10.0, 40.0, 40.0], "mplug2 --help": [3.0, 6.0, 8.0]}
    assert lines(figures) == [
        (BARE, "2.00", "1.0", "0.10"),
        (TORCH, "40.00", "10.0", "1.00"),
        ("mplug2 --help", "6.00", "3.0", "0.20"),
    ]


def test_all_commands_run_once_before_they_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[list[str]] = []
    caches: list[bool] = []

    def run(words: list[str], variables: dict[str, str]) -> float:
        runs.append(words)
        caches.append("XDG_CACHE_HOME" not in variables)
        return float(len(runs))

    monkeypatch.setattr(start, "_cpu_seconds", run)
    figures = bench(TINY, ["train.lr=1e-4"], rounds=2)
    assert runs == list(start.commands(TINY, ["train.lr=1e-4"]).values()) * 3
    assert figures[BARE] == [7.0, 13.0]
    assert caches == [False, False, False, False, False, True] * 3


@pytest.mark.slow
def test_the_command_prints_a_table(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(request.config.rootpath)
    done = CliRunner().invoke(app, ["bench", "start", "--rounds", "1"])
    assert done.exit_code == 0, done.output
    for command in ("mplug2 --help", "mplug2 check --stages 1-3", "mplug2 check", start.UNCHANGED):
        assert re.search(rf"{command} +│ +\d+\.\d\d │ +\d+\.\d │ +\d+\.\d\d │", done.output), done.output


def test_a_command_that_fails_is_reported() -> None:
    with pytest.raises(UserError, match="no/such.yaml --stages 1-3 failed with exit code 2"):
        start._cpu_seconds(["-m", "mplug2", "check", "no/such.yaml", "--stages", "1-3"])
