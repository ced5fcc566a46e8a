"""The short way to `mplug2 check`: the same answers as the long one, with few imports."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

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
def test_both_ways_say_the_same(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code = quick(words)
    printed = capsys.readouterr().out
    long = CliRunner().invoke(app, ["check", *words])
    assert code == long.exit_code
    assert re.sub(r"\d+\.\d s", "", printed) == re.sub(r"\d+\.\d s", "", long.output)


@pytest.mark.parametrize(
    "words",
    [
        [TINY, "--smoke"],
        [TINY, "--stages", "1-3", "--smoke"],
        [TINY, "--stages", "1-3", "--run"],
        [TINY, "--stages", "2"],
        ["--stages", "1-3"],
        ["--stages", "1-3", "train.lr=1e-4"],
        [TINY, "--stages"],
        [TINY, "--stages", "1-3", "--help"],
    ],
)
def test_all_else_takes_the_long_way(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert quick(words) is None
    assert capsys.readouterr().out == ""


CHECK_EACH = """
import collections, json, sys

before = set(sys.modules)
opened = collections.Counter()
sys.addaudithook(lambda event, values: opened.update([str(values[0])]) if event == "open" else None)
from mplug2.cli import main

for file in sys.argv[1:]:
    opened.clear()
    sys.argv = ["mplug2", "check", file, "--stages", "1-3"]
    try:
        main()
    except SystemExit as result:
        code = result.code
    twice = [name for name, count in opened.items() if count > 1 and name.endswith((".py", ".yaml"))]
    print(json.dumps({"code": code, "twice": twice, "imported": sorted(set(sys.modules) - before)}))
"""


@pytest.fixture(scope="module")
def reports() -> dict[Path, dict[str, Any]]:
    """Check every shipped spec in one new process; return the modules imported and the files opened twice."""
    command = [sys.executable, "-c", CHECK_EACH, *map(str, SHIPPED)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return dict(zip(SHIPPED, map(json.loads, lines), strict=True))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_checking_a_shipped_spec_imports_little_and_opens_no_file_twice(
    file: Path, reports: dict[Path, dict[str, Any]]
) -> None:
    report = reports[file]
    assert (report["code"], report["twice"]) == (0, [])
    packages = {
        name.partition(".")[0] for name in report["imported"]
    } - sys.stdlib_module_names
    assert packages == {"mplug2", "modules", "registry", "ruamel"}
    assert "mplug2.cli.app" not in report["imported"]


def test_a_closed_pipe_ends_quietly() -> None:
    code = f"{sys.executable} -m mplug2 check {TINY} {TINY} --stages 1-3 | true"
    done = subprocess.run(
        code, shell=True, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
