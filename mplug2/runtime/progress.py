"""What a run shows while it runs: a bar on a terminal, plain lines elsewhere, nothing on other ranks than the
first."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)


class ProgressReporter:
    """A progress bar with lines above it; ``silent`` on all ranks but the first."""

    def __init__(
        self, total: int, done: int = 0, *, silent: bool = False, unit: str = "step"
    ) -> None:
        self._unit = unit
        self._console = Console(file=sys.stdout, quiet=silent, soft_wrap=True)
        self._bar: Progress | None = None
        self._total, self._started, self._first = total, time.monotonic(), done
        if self._console.is_terminal and not silent:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task("", total=total, completed=done)

    def __enter__(self) -> ProgressReporter:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def print_line(self, *things: object) -> None:
        """Print lines or tables; nothing once the terminal is closed."""
        for thing in things:
            try:
                self._console.print(thing, highlight=False, markup=False)
            except OSError:
                # A run must not end, unsaved, because its terminal was closed.
                self._console.quiet = True

    def step(self, step: int, text: str, line: bool) -> None:
        """Move to ``step``; ``line`` asks for a printed line where there is no bar."""
        if self._bar:
            self._bar.update(self._task, completed=step, description=text)
        elif line:
            # By the steps of this process: a resumed run did its first ones at another speed.
            seconds_per_step = (time.monotonic() - self._started) / max(
                step - self._first, 1
            )
            left = seconds_per_step * (self._total - step)
            self.print_line(
                f"{self._unit} {step}/{self._total}  {text}  {duration(left)} left"
            )


def duration(seconds: float) -> str:
    """Return a duration in words: 12 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
