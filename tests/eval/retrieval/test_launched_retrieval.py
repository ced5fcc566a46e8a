"""Two processes find what one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def launch(path: Path, processes: int, zero: str) -> dict[int, list[dict[str, Any]]]:
    drop = (
        "RANK",
        "WORLD_SIZE",
        "LOCAL_RANK",
        "MASTER_ADDR",
        "MASTER_PORT",
        "DS_ACCELERATOR",
    )
    environment = {key: value for key, value in os.environ.items() if key not in drop}
    environment |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}", "OMP_NUM_THREADS": "1"}
    launcher = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        str(processes),
    ]
    command = [sys.executable, *(launcher if processes > 1 else [])]
    done = subprocess.run(
        [*command, str(HERE / "launched_retrieval.py"), str(path), zero],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    files = {images: Path(f"{path}_{images}.jsonl") for images in (13, 1)}
    return {
        images: [json.loads(line) for line in file.read_text().splitlines()]
        for images, file in files.items()
    }


def numbers(rows: list[dict[str, Any]]) -> list[float]:
    """Take the scores out of the rows, and return them."""
    return [
        value
        for row in rows
        for name in ("score", "similarity")
        for value in row.pop(name)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("zero", ["none", "1", "3"])
def test_two_processes_find_what_one_does(tmp_path: Path, zero: str) -> None:
    alone, both = (
        launch(tmp_path / "alone", 1, "none"),
        launch(tmp_path / "both", 2, zero),
    )
    assert len(alone[13]) == 13 + 25 and len(alone[1]) == 2
    for images in (13, 1):
        assert numbers(both[images]) == pytest.approx(numbers(alone[images]), abs=1e-4)
        assert both[images] == alone[images]
