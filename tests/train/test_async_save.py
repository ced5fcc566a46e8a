"""Checkpoints that are written while training continues (`train.async_save`)."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import same_weights
from train_fakes import FakeLoader, FakeNet, Interrupting, run

from mplug2.runtime import manifest
from mplug2.runtime.deferred_writes import (
    DeferredWrites,
    deferred_writes,
    write_or_defer,
)
from mplug2.runtime.manifest import damage
from mplug2.train import checkpoint
from mplug2.train.background_saves import BackgroundSaves
from mplug2.train.logs import read_log
from mplug2.train.saved_steps import steps_written
from registry import UserError

FILES = ("weights.safetensors", "momentum.safetensors")


def async_run(folder: Path, **settings: Any) -> Any:
    return run(folder, async_save="true", engine="torch", **settings)


def test_what_is_deferred_has_the_values_of_its_call() -> None:
    written: list[Any] = []
    tensor, count = torch.zeros(2), [torch.ones(1), "text"]
    deferred = DeferredWrites()
    with deferred_writes(deferred):
        write_or_defer(written.append, {"a": tensor, "b": (count,)})
        # A generator is read at once: later its tensors would be others.
        write_or_defer(written.extend, (tensor + number for number in range(2)))
        assert not written
        # A thread of its own writes at once.
        thread = threading.Thread(target=write_or_defer, args=(written.append, "now"))
        thread.start()
        thread.join()
    assert written == ["now"]
    tensor += 5
    count[0] += 5
    deferred.run()
    assert written[1]["a"].tolist() == [0, 0]
    assert written[1]["b"][0][0].tolist() == [1]
    assert written[1]["b"][0][1] == "text"
    assert [value.tolist() for value in written[2:]] == [[0, 0], [1, 1]]
    write_or_defer(written.append, tensor)
    assert written[-1] is tensor


def test_the_memory_of_written_tensors_is_used_again() -> None:
    deferred = DeferredWrites()
    first = deferred.copied(torch.zeros(2, 3))
    # Not before the files of the first call are written.
    assert deferred.copied(torch.ones(2, 3)) is not first
    assert first.sum() == 0
    deferred.clear()
    others = [
        deferred.copied(torch.ones(3, 2)),
        deferred.copied(torch.ones(2, 3).int()),
    ]
    assert all(other is not first for other in others)
    reused = [deferred.copied(torch.full((2, 3), 5.0)) for _ in range(2)]
    assert any(tensor is first for tensor in reused)
    assert all(tensor.sum() == 30 for tensor in reused)


def test_a_run_writes_the_same_checkpoints(tmp_path: Path) -> None:
    save_every = "{steps: 1}"
    settings = {"save_every": save_every, "keep_last": 20}
    first = run(tmp_path / "waits", FakeLoader(2), engine="torch", **settings)
    second = async_run(tmp_path / "goes_on", loader=FakeLoader(2), **settings)
    steps = steps_written(tmp_path / "waits/checkpoints")
    assert steps == [1, 2, 3, 4]
    assert steps_written(tmp_path / "goes_on/checkpoints") == steps
    assert first.best is not None and second.best is not None
    assert (first.last.name, first.best.name) == (second.last.name, second.best.name)
    for step in steps:
        name = f"checkpoints/step_{step:08d}"
        same_weights(tmp_path / "waits" / name, tmp_path / "goes_on" / name, FILES)
        assert damage(tmp_path / "goes_on" / name) is None


def test_a_stopped_run_resumes_bit_equal(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", engine="torch")
    stopped = async_run(tmp_path / "part", loader=Interrupting())
    assert stopped.interrupted
    resumed = async_run(tmp_path / "part", resume=True)
    same_weights(whole.last, resumed.last, FILES)


class Gate:
    """Holds the thread that writes until it is opened, and counts the steps meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_open = threading.Event()
        original = checkpoint.write_manifest

        def wait(*arguments: Any) -> None:
            assert self.is_open.wait(60)
            original(*arguments)

        monkeypatch.setattr(checkpoint, "write_manifest", wait)


class Watching(FakeLoader):
    """Looks at the run folder before every batch, and opens the gate before the batch ``at``."""

    def __init__(self, folder: Path, gate: Gate, at: int) -> None:
        super().__init__(batches=8)
        self.folder, self.gate, self.at = folder, gate, at
        self.names: list[list[str]] = []

    def batch(self, index: int) -> Any:
        if self.epoch == 0:
            paths = self.folder.glob("checkpoints/*")
            links = [
                name for name in ("last", "best") if (self.folder / name).is_symlink()
            ]
            self.names.append(sorted(path.name for path in paths) + links)
            if index == self.at:
                self.gate.is_open.set()
        return super().batch(index)


def test_steps_go_on_and_links_wait_for_what_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = Watching(tmp_path, Gate(monkeypatch), at=3)
    result = async_run(
        tmp_path, loader=loader, val=False, save_every="{steps: 2}", epochs=1
    )
    # Steps 3 and 4 were taken while step 2 was held; the save of step 4 waited for it.
    assert loader.names[:2] == [[], []]
    assert loader.names[2:4] == [["step_00000002.tmp"]] * 2
    assert "step_00000002" in loader.names[4] and "last" in loader.names[4]
    assert result.last.name == "step_00000008"
    assert (tmp_path / "last").resolve() == result.last.resolve()


def test_an_error_of_the_writer_ends_the_run_at_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = threading.Event()

    def full(*_: object) -> None:
        written.set()
        raise OSError(28, "No space left on device")

    class Slow(FakeLoader):
        def batch(self, index: int) -> Any:
            if index == 3:
                assert written.wait(60)
                # The thread ends right after this: the next step must see it.
                for thread in threading.enumerate():
                    if thread.name == "save":
                        thread.join()
            return super().batch(index)

    async_run(tmp_path, loader=FakeLoader(2), val=False, epochs=1)
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "write_manifest", full)
        with pytest.raises(UserError, match="step 4 cannot be written into .*No space"):
            async_run(
                tmp_path,
                loader=Slow(8),
                val=False,
                resume=True,
                save_every="{steps: 2}",
            )
    steps = [row["step"] for row in read_log(tmp_path / "log.jsonl") if "loss" in row]
    assert steps[-1] <= 6
    # Nothing is left of the save that failed, and the one before it is intact.
    names = [path.name for path in (tmp_path / "checkpoints").iterdir()]
    assert names == ["step_00000002"]
    assert damage(tmp_path / "last") is None


def test_an_error_of_the_last_save_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(manifest, "sync", full)
    with pytest.raises(UserError, match="step 10 cannot be written into"):
        async_run(tmp_path, val=False, save_every=5)


def test_a_run_that_fails_completes_its_save_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = checkpoint.write_manifest

    def slow(*arguments: Any) -> None:
        time.sleep(0.2)
        original(*arguments)

    class Failing(FakeLoader):
        def batch(self, index: int) -> Any:
            if index == 2:
                raise RuntimeError("the disk of the data is gone")
            return super().batch(index)

    monkeypatch.setattr(checkpoint, "write_manifest", slow)
    with pytest.raises(RuntimeError, match="the data is gone"):
        async_run(tmp_path, loader=Failing(), val=False, save_every="{steps: 2}")
    assert steps_written(tmp_path / "checkpoints") == [2]


def test_an_error_waits_for_the_one_who_asks() -> None:
    def fail() -> None:
        raise ValueError("no")

    saves = BackgroundSaves()
    saves.start(fail)
    with pytest.raises(ValueError, match="no"):
        saves.start(FakeNet)
    # Reported once; the object can be used again.
    done = threading.Event()
    saves.start(done.set)
    saves.wait()
    assert done.is_set() and not saves.has_failed
