"""The short way to `mplug2 check`: the same answers as the long one, quickly."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mplug2.cli.app import app
from mplug2.cli.checking import quick

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted(ROOT.glob("configs_*/*.yaml"))
TINY = str(ROOT / "configs_video" / "VideoQA_shapes_tiny.yaml")


@pytest.mark.parametrize(
    "words",
    [
        [TINY, "--stages", "1-3"],
        ["--stages=1-3", TINY, "train.lr=1e-4"],
        [TINY, "--stages", "1-3", "modules.vision.dept=3"],
        ["no/such.yaml", TINY, "--stages", "1-3"],
        ["--json", TINY, "--stages", "1-3", "train.epoch=3"],
    ],
)
def test_both_ways_say_the_same(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code = quick(words)
    printed = capsys.readouterr().out
    long = CliRunner().invoke(app, ["check", *words])
    assert code == long.exit_code
    assert re.sub(r"\d+\.\d s", "", printed) == re.sub(r"\d+\.\d s", "", long.output)


@pytest.mark.parametrize(
    "words",
    [
        [TINY],
        [TINY, "--stages", "1-4"],
        [TINY, "--stages", "1-3", "--smoke"],
        ["--stages", "1-3"],
        ["--stages", "1-3", "train.lr=1e-4"],
        [TINY, "1-3"],
        [TINY, "--stages", "1-3", "--help"],
    ],
)
def test_all_else_takes_the_long_way(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert quick(words) is None
    assert capsys.readouterr().out == ""


def _seconds(file: Path) -> float:
    """The processor time of one check, from the start of Python to its end."""
    before = os.times()
    command = [sys.executable, "-m", "mplug2", "check", str(file), "--stages", "1-3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "no mistakes" in done.stdout, done.stdout + done.stderr
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_a_shipped_spec_is_checked_in_a_fraction_of_a_second(file: Path) -> None:
    assert any(_seconds(file) < 0.3 for _ in range(3))  # the machine may be busy


def test_a_closed_pipe_ends_quietly() -> None:
    code = f"{sys.executable} -m mplug2 check {TINY} {TINY} --stages 1-3 | true"
    done = subprocess.run(code, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
