"""What iterations take: samples and tokens per second, waiting for data, memory; and a profile of some."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from modules.streams import Text
from mplug2.runtime import distributed
from mplug2.runtime.atomic_write import atomic_write
from mplug2.train.iteration import Iteration, OptimizerStep

PREFIX = (
    "machine"  # of the logged values that depend on the machine, and not on the seed
)
TABLE_ROWS = 50
Values = dict[str, float | None]


class Meter:
    """Measures the iterations between two lines of the log, on each rank by itself.

    Ranks have equally many samples up to padding: rates are those of this rank times the number of ranks.
    """

    def __init__(
        self, iteration: Iteration, folder: Path, profiled: Sequence[int] | None
    ) -> None:
        self.iteration = iteration
        is_first = distributed.rank() == 0
        self.profile = StepProfile(folder, profiled if is_first else None)
        self._reset()

    def _reset(self) -> None:
        self._seconds, self._samples, self._tokens = 0.0, 0, 0
        self._waited = self.iteration.seconds_waited

    def __enter__(self) -> Meter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End a profile that is under way."""
        self.profile.close()

    def begin(self, step: int) -> None:
        """Begin the iteration ``step``, counted from 1."""
        self.profile.begin(step)
        self._started = time.monotonic()

    def count(self, step: OptimizerStep) -> None:
        """Count the samples, and the text tokens without padding, of an optimizer step."""
        for part in step.parts:
            for micro_batch in part.micro_batches:
                self._samples += len(micro_batch.records)
                for value in micro_batch.inputs.values():
                    if isinstance(value, Text):
                        self._tokens += int(value.mask.sum())

    def end(self, step: int) -> float:
        """End an iteration, and return its seconds."""
        seconds = time.monotonic() - self._started
        self._seconds += seconds
        self.profile.end(step)
        return seconds

    def take(self) -> Values:
        """Return the rates since they were last taken, by the names of the log."""
        seconds = max(self._seconds, 1e-9)
        ranks = distributed.world_size()
        waited = self.iteration.seconds_waited - self._waited
        values: Values = {
            "samples_per_second": self._samples * ranks / seconds,
            "tokens_per_second": self._tokens * ranks / seconds
            if self._tokens
            else None,
            "waiting": waited / seconds,
            "memory_gb": peak_memory() / 1e9,
        }
        self._reset()
        return {f"{PREFIX}/{name}": value for name, value in values.items()}


def peak_memory() -> int:
    """Return the most bytes that this process has had: of its GPU if it uses one, else of the machine."""
    if distributed.device().type == "cuda":
        return torch.cuda.max_memory_allocated()
    # Linux counts in units of 1024 bytes, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class StepProfile:
    """Profiles the steps from the first to the last of ``profiled`` with torch's profiler (`train.profile`).

    The folder ``profile`` gets a trace for chrome://tracing or Perfetto, and a table of the operators by
    their time.
    """

    def __init__(self, folder: Path, profiled: Sequence[int] | None) -> None:
        self.folder, self.profiled = folder / "profile", profiled
        self._profiler: Any = None
        self._first = 0

    def begin(self, step: int) -> None:
        """Start the profiler if ``step`` is the first of the profiled steps that this run takes."""
        if self.profiled is None or self._profiler is not None:
            return
        first, last = self.profiled
        if first <= step <= last:
            activities = [torch.profiler.ProfilerActivity.CPU]
            if torch.cuda.is_available():
                activities.append(torch.profiler.ProfilerActivity.CUDA)
            self._first = step
            # A resumed run may begin in the middle of the profiled steps: the file is named after those that it has.
            self._profiler = torch.profiler.profile(activities=activities)
            self._profiler.start()

    def end(self, step: int) -> None:
        """Stop after the last profiled step, and write what was recorded."""
        if self._profiler is None or self.profiled is None:
            return
        if step >= self.profiled[1]:
            self._write(f"steps_{self._first}_{step}")

    def close(self) -> None:
        """Stop the profiler if the run ends before the last profiled step."""
        if self._profiler is not None:
            # The run has ended: its error comes first.
            with contextlib.suppress(OSError):
                self._write(f"steps_{self._first}_unfinished")

    def _write(self, name: str) -> None:
        # Forgotten first: an error below must not lead to a second attempt at the end of the run.
        profiler, self._profiler = self._profiler, None
        self.profiled = None
        profiler.stop()
        self.folder.mkdir(parents=True, exist_ok=True)
        profiler.export_chrome_trace(str(self.folder / f"{name}.json"))
        device = "cuda" if torch.cuda.is_available() else "cpu"
        order = f"self_{device}_time_total"
        with atomic_write(self.folder / f"{name}.txt") as file:
            file.write(
                profiler.key_averages().table(sort_by=order, row_limit=TABLE_ROWS)
            )
