"""Two trainings cannot share a run folder, and a run whose folder is gone ends in a sentence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from train_fakes import FakeLoader, run

from mplug2.train.run_lock import LOCK, lock_run_folder, lost_run_folder, run_locks
from registry import UserError

HOLD = """
import sys
from pathlib import Path
from mplug2.train.run_lock import lock_run_folder
print(lock_run_folder(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path) -> Any:
    """A process that holds the lock of the run folder."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "None\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_training_is_refused_and_changes_nothing(
    tmp_path: Path, other: Any
) -> None:
    unfinished = tmp_path / "checkpoints/step_00000003.tmp"
    unfinished.mkdir(parents=True)
    with pytest.raises(
        UserError, match=f"process {other.pid} on .* trains into it now"
    ):
        run(tmp_path, resume=True)
    assert unfinished.is_dir()  # the first training is writing it


def test_the_lock_of_a_killed_process_is_free_at_once(
    tmp_path: Path, other: Any
) -> None:
    other.kill()
    other.wait()
    assert (tmp_path / LOCK).is_file()
    run(tmp_path)
    assert not (tmp_path / LOCK).exists()


def leave_lock(folder: Path, host: str, seconds: float) -> None:
    """Write the lock of a process on a host, which touched it some seconds ago."""
    file = folder / LOCK
    file.write_text(json.dumps({"host": host, "process": 7, "rank": 0}))
    touched = file.stat().st_mtime - seconds
    os.utime(file, (touched, touched))


def test_a_lock_of_another_host_holds_while_it_is_touched(tmp_path: Path) -> None:
    leave_lock(tmp_path, "node17", seconds=60)
    with run_locks():
        problem = lock_run_folder(tmp_path)
        assert problem is not None
        assert "process 7 on node17 trains into it now" in problem
        # The question itself must not keep the lock of a host that is down alive.
        assert lock_run_folder(tmp_path) == problem
        leave_lock(tmp_path, "node17", seconds=600)
        assert lock_run_folder(tmp_path) is None


@pytest.mark.parametrize("content", ["", "{", "[1]"])
def test_a_half_written_lock_that_nobody_holds_is_taken(
    tmp_path: Path, content: str
) -> None:
    (tmp_path / LOCK).write_text(content)
    with run_locks():
        assert lock_run_folder(tmp_path) is None


def test_the_lock_ends_with_a_run_that_fails(tmp_path: Path) -> None:
    run(tmp_path, epochs=1)
    with pytest.raises(UserError, match="already holds a run"):
        run(tmp_path, epochs=1)
    assert not (tmp_path / LOCK).exists()


class RemovingLoader(FakeLoader):
    """Removes the run folder with the third batch."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def batch(self, index: int) -> Any:
        if index == 2:
            shutil.rmtree(self.folder)
        return super().batch(index)


def test_a_run_whose_folder_was_removed_ends_in_a_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(
        UserError, match=f"the run folder {folder} is gone: it was removed or renamed"
    ):
        run(folder, RemovingLoader(folder))
    assert not folder.exists()


def test_a_folder_that_another_run_made_anew_is_left_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with run_locks():
        assert lock_run_folder(folder) is None
        shutil.rmtree(folder)
        folder.mkdir()
        leave_lock(folder, "node17", seconds=1)
        problem = lost_run_folder(folder)
        assert problem is not None
        assert "process 7 on node17" in problem
