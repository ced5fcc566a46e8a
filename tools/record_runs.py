"""Runs of the command line of mplug2 for `record.py`, and the files in which their results are kept."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHAPES = "data/shapes"
THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
GRACE_SECONDS = 15  # between asking a run to stop and killing it


class OutOfTime(Exception):
    """The time limit passed before a command ended."""


class CommandFailed(Exception):
    """A command ended with an error."""


@dataclass(frozen=True)
class Clock:
    """The time at which all commands must have stopped."""

    deadline: float

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.deadline - time.monotonic()


def run_mplug2(arguments: Sequence[str], log: Path, clock: Clock) -> str:
    """Run a command of mplug2 with one thread on the CPU, and return what it printed."""
    environment = dict(
        os.environ, CUDA_VISIBLE_DEVICES="", PYTHONHASHSEED="0", COLUMNS="160"
    )
    environment.update(dict.fromkeys(THREADS, "1"))
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))
    )
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        command = [sys.executable, "-m", "mplug2", *arguments]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=output
        )
        try:
            code = process.wait(
                timeout=None if math.isinf(clock.left()) else max(0.0, clock.left())
            )
        except subprocess.TimeoutExpired:
            stop(process)
            raise OutOfTime from None
    text = log.read_text(encoding="utf-8", errors="replace")
    if code != 0:
        last_lines = "\n".join(text.splitlines()[-15:])
        raise CommandFailed(
            f"exit code {code} of: mplug2 {' '.join(arguments)}\n{last_lines}"
        )
    return text


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a training run to save and stop, and kill it if it takes too long."""
    process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def make_shapes() -> None:
    """Generate the shapes world with its default sizes unless it exists."""
    with tempfile.TemporaryDirectory() as folder:
        run_mplug2(
            ["data", "make-shapes", SHAPES], Path(folder) / "log.txt", Clock(math.inf)
        )


def open_record(path: Path, kind: str, settings: Sequence[str]) -> dict[str, Any]:
    """Return the record in a file to continue with, or a new one."""
    if path.is_file():
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if (record["kind"], record["settings"]) != (kind, list(settings)):
            raise SystemExit(
                f"{path} is a record of other settings: choose another file for --out"
            )
        return record
    packages = {
        name: version(name)
        for name in ("torch", "torchvision", "numpy", "timm", "deepspeed")
    }
    machine = {
        "python": platform.python_version(),
        "processor": platform.machine(),
        **packages,
    }
    return {"kind": kind, "settings": list(settings), "machine": machine, "results": {}}


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON; an interruption leaves the previous file intact."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(
        json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )
    temporary.replace(path)


def read_results(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the kind of a record and its results by spec."""
    record = json.loads(path.read_text(encoding="utf-8"))
    return record["kind"], record["results"]
