"""Two processes write the rows and the values of one: 21 samples, with padding and without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def launch(out: Path, processes: int) -> dict[str, str]:
    out.mkdir()
    drop = (
        "RANK",
        "WORLD_SIZE",
        "LOCAL_RANK",
        "MASTER_ADDR",
        "MASTER_PORT",
        "DS_ACCELERATOR",
    )
    environment = {key: value for key, value in os.environ.items() if key not in drop}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launcher = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        str(processes),
    ]
    command = [
        sys.executable,
        *(launcher if processes > 1 else []),
        str(HERE / "launched_rows.py"),
        str(out),
    ]
    done = subprocess.run(
        command,
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.name: path.read_text() for path in out.iterdir()}


@pytest.mark.slow
def test_two_processes_find_what_one_does(tmp_path: Path) -> None:
    alone, both = launch(tmp_path / "alone", 1), launch(tmp_path / "both", 2)
    assert len(alone) == 2 * 2 * 2 * 2
    assert both == alone
    assert len(alone["21_True_predict.jsonl"].splitlines()) == 21
