"""CIDEr-D in worker processes equals the metric's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mplug2.metrics.caption.cider import CiderD
from mplug2.metrics.caption.metrics import Cider
from mplug2.objectives.cider_workers import Workers, count
from registry.errors import UserError

ROOT = Path(__file__).parents[2]
REFERENCES = [
    ["A man is cooking.", "a man cooks, in his kitchen"],
    ["two dogs run", "dogs are running on the grass", "Two dogs!"],
    ["a woman sings a song"],
]
SAID = [
    ["a man is cooking", "a dog"],
    ["two dogs run on grass", "two two two"],
    ["a man sings", ""],
]


@pytest.mark.parametrize("processes", [0, 1, 2, 5])
def test_scores_are_those_of_the_metric(processes: int) -> None:
    workers = Workers(processes, count(REFERENCES))
    scores = workers.score(list(zip(SAID, REFERENCES, strict=True)))
    for column in range(2):
        rows = [
            {"prediction": said[column], "references": given}
            for said, given in zip(SAID, REFERENCES, strict=True)
        ]
        mean = sum(row[column] for row in scores) / 3
        assert mean == pytest.approx(Cider().compute(rows)["cider"], abs=1e-12)
        assert len({row[column] for row in scores}) == 3


def test_frequencies_are_those_of_all_training_references() -> None:
    """A batch of one item would know no rare word from a common one."""
    alone = Workers(0, count(REFERENCES[:1])).score([(SAID[0], REFERENCES[0])])
    known = Workers(0, count(REFERENCES)).score([(SAID[0], REFERENCES[0])])
    assert alone[0] == [0.0, 0.0] and known[0][0] > 1.0
    tokens = [
        [text.lower().replace(",", "").rstrip(".!") for text in given]
        for given in REFERENCES
    ]
    assert known[0] == CiderD(tokens).score(SAID[0], [0, 0])


def test_a_worker_that_was_killed_is_told() -> None:
    workers = Workers(1, count(REFERENCES))
    workers.score([(SAID[0], REFERENCES[0])])
    assert workers._pool is not None
    for process in workers._pool._processes.values():
        process.kill()
        process.join()
    with pytest.raises(UserError, match="workers: 0"):
        workers.score([(SAID[0], REFERENCES[0])])


PARENT = """
import time
from mplug2.objectives.cider_workers import Workers, count

if __name__ == "__main__":
    workers = Workers(2, count([["a dog runs"], ["a bird flies"]]))
    workers.score([(["a dog"], ["a dog runs"]), (["a bird"], ["a bird flies"])])
    print(*workers._pool._processes, flush=True)
    time.sleep(600)
"""


def alive(process: int) -> bool:
    try:
        # a process that nobody waited for is still listed, as a zombie
        return (
            Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
            != "Z"
        )
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_workers_end_with_a_trainer_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "parent.py")]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        workers = [int(number) for number in parent.stdout.readline().split()]
        assert workers and all(alive(number) for number in workers)
        parent.kill()
    until = time.monotonic() + 120
    while any(alive(number) for number in workers) and time.monotonic() < until:
        time.sleep(0.05)
    left = [number for number in workers if alive(number)]
    for number in left:
        os.kill(number, signal.SIGKILL)
    assert not left


def test_no_process_is_left_behind() -> None:
    workers = Workers(1, count(REFERENCES))
    workers.score([(SAID[0], REFERENCES[0])])
    pool = workers._pool
    assert pool is not None
    (process,) = pool._processes.values()
    assert process.is_alive()
    del workers
    process.join(timeout=120)
    assert not process.is_alive()
