"""The loggers that ship: JSON lines with a plot of the curves, and TensorBoard."""

from __future__ import annotations

import json
import os
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mplug2.runtime.atomic_write import atomic_write
from mplug2.train.curves import draw_curves
from mplug2.train.logs import read_log


class JsonlLogger:
    """Writes ``log.jsonl``, one row per logged step, and ``curves.png`` when the run ends."""

    def __init__(self, folder: Path, step: int, settings: Mapping[str, Any]) -> None:
        """Open the log to continue after ``step``; rows beyond it, of an interrupted run, are dropped."""
        self.path = folder / "log.jsonl"
        kept = [
            json.dumps(row) + "\n" for row in read_log(self.path) if row["step"] <= step
        ]
        with atomic_write(
            self.path
        ) as file:  # If the disk is full, the old file remains.
            file.writelines(kept)
        # Unbuffered: a row is in the file when `log` returns, or none of it is.
        self._file = self.path.open("ab", buffering=0)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append one row."""
        row = (json.dumps({"step": step, **values}) + "\n").encode()
        start = self._file.seek(0, os.SEEK_END)
        try:
            if self._file.write(row) < len(row):
                raise OSError("only a part of the row could be written")
        except OSError:
            self._file.truncate(start)
            raise

    def close(self) -> None:
        """Close the file and draw what was logged, also of a run that failed."""
        self._file.close()
        draw_curves(self.path, self.path.with_name("curves.png"))


class TensorBoardLogger:
    """Writes the values to TensorBoard's event files, in the folder ``tensorboard``."""

    def __init__(self, folder: Path, step: int, settings: Mapping[str, Any]) -> None:
        """Open an event file; TensorBoard hides what was logged after ``step``."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torch.utils.tensorboard import SummaryWriter
        before = set(threading.enumerate())
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self._threads = set(threading.enumerate()) - before
        self._excepthook = threading.excepthook
        threading.excepthook = self._report

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write one point for each value."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is buffered, and close the file."""
        try:
            self._writer.close()
        finally:
            threading.excepthook = self._excepthook

    def _report(self, failure: threading.ExceptHookArgs) -> None:
        """Report what ends a thread, but for the writer's: `log` and `close` raise that again."""
        if failure.thread not in self._threads:
            self._excepthook(failure)
