"""The benchmark of the start: its commands run, and its table has the least of all rounds."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from mplug2.bench import start
from mplug2.bench.start import BARE, TORCH, bench, lines
from mplug2.cli.app import app
from registry import UserError

TINY = "configs_video/VideoQA_shapes_tiny.yaml"


def test_the_least_of_all_rounds_counts() -> None:
    figures = {
        BARE: [2.0, 1.0, 4.0],
        TORCH: [40.0, 20.0, 50.0],
        "mplug2 --help": [8.0, 6.0, 5.0],
    }
    assert lines(figures) == [
        (BARE, "1.00", "0.00", "0.05"),
        (TORCH, "20.00", "19.00", "1.00"),
        ("mplug2 --help", "5.00", "4.00", "0.25"),
    ]


def test_all_commands_run_once_before_they_are_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs: list[list[str]] = []
    caches: list[bool] = []

    def run(words: list[str], variables: dict[str, str]) -> float:
        runs.append(words)
        caches.append("XDG_CACHE_HOME" not in variables)
        return float(len(runs))

    monkeypatch.setattr(start, "_cpu_seconds", run)
    figures = bench(TINY, ["train.lr=1e-4"], rounds=2)
    assert runs == list(start.commands(TINY, ["train.lr=1e-4"]).values()) * 3
    assert figures[BARE] == [8.0, 15.0]
    assert caches == [True, True, True, True, False, True, False] * 3


@pytest.mark.slow
def test_the_command_prints_a_table(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(request.config.rootpath)
    done = CliRunner().invoke(app, ["bench", "start", "--rounds", "1"])
    assert done.exit_code == 0, done.output
    for command in (
        "mplug2 --help",
        "mplug2 check --stages 1-3",
        start.FIRST,
        "mplug2 check",
        start.UNCACHED,
    ):
        assert re.search(
            rf"{command} +│ +\d+\.\d\d │ +\d+\.\d\d │ +\d+\.\d\d │", done.output
        ), done.output


def test_bytecode_is_written_as_in_an_installed_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    seconds = start._cpu_seconds(
        ["-c", "import sys; assert not sys.dont_write_bytecode"]
    )
    assert seconds > 0


def test_a_command_that_fails_is_reported() -> None:
    with pytest.raises(
        UserError, match="no/such.yaml --stages 1-3 failed with exit code 2"
    ):
        start._cpu_seconds(["-m", "mplug2", "check", "no/such.yaml", "--stages", "1-3"])
