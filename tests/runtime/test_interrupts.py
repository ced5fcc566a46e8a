"""A signal to all processes of a run, as SLURM and systemd send it, asks it to stop and ends no worker."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from loaders import make_source, train_loader

from mplug2.data.shapes.questions import vocabulary
from mplug2.data.shapes.write import make_shapes
from mplug2.data.tasks.question_answer import QuestionAnswerTask
from mplug2.data.text import Tokenizer
from mplug2.runtime.interrupts import Interrupts
from registry.language.ports import StreamType


@pytest.fixture(autouse=True)
def default_hangup() -> Iterator[None]:
    """Start from the default: tests that run under nohup would inherit an ignored SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    "number", [int(signal.SIGTERM), int(signal.SIGINT), int(signal.SIGHUP)]
)
def test_workers_live_through_it_and_obey_their_parent(
    tmp_path: Path, number: int
) -> None:
    make_shapes(tmp_path, train=4, val=1, test=1, size=24, frames=6, workers=1)
    data = make_source(
        QuestionAnswerTask,
        path=str(tmp_path / "qa_train.jsonl"),
        media=str(tmp_path / "videos"),
        types={"video": StreamType("frames", ("V", 3, 6, 24, 24))},
        tokenizer=Tokenizer({token: index for index, token in enumerate(vocabulary())}),
        training=True,
    )
    loader = train_loader(data, 1, workers=1)
    with Interrupts() as interrupts:
        batches = iter(loader)
        next(batches)
        workers = loader._reader._loader._iterator._workers  # type: ignore[union-attr]
        # by another process: from their own parent workers take it as their end
        everyone = [
            str(process)
            for process in (os.getpid(), *(worker.pid for worker in workers))
        ]
        subprocess.run(["kill", f"-{number}", *everyone], check=True)
        for _ in range(loader.steps_in(0) - 1):
            next(batches)
        assert loader.state_dict()["epoch"] == 1
        assert interrupts.stop_requested
    for worker in workers:
        worker.terminate()
        worker.join(10)
        assert worker.exitcode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_asks_a_run_to_stop(number: signal.Signals) -> None:
    with Interrupts() as interrupts:
        signal.raise_signal(number)
        assert interrupts.stop_requested


def test_a_run_under_nohup_goes_on_when_its_terminal_closes() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGHUP)
            assert not interrupts.stop_requested
    finally:
        signal.signal(signal.SIGHUP, before)
