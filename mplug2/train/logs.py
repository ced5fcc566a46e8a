"""The record of a run: rows of numbers, which go to all loggers that the spec names."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from registry import LOGGERS, UserError

log = logging.getLogger(__name__)
Row = tuple[int, dict[str, float]]  # a step and its values


class Logger(Protocol):
    """A place for the numbers of a run; registered in ``LOGGERS`` and named in `train.loggers`."""

    def __init__(self, folder: Path, step: int, settings: Mapping[str, Any]) -> None:
        """Open it for the run in ``folder``, which continues after ``step``; ``settings`` is `train`.

        What was logged beyond ``step`` comes again. Raise `UserError` if it cannot work here.
        """

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of a step, such as ``{"loss": 0.5, "lr": 1e-4}`` or ``{"val/accuracy": 0.9}``.

        After an exception the same values come again with the next ones.
        """

    def close(self) -> None:
        """Write what is left, at the end of a run, also of one that failed."""


class RunLog:
    """Gives each row to all loggers of `train.loggers`; ``silent`` on all ranks but the first.

    A logger that fails does not stop the run: a warning names the error, its rows are kept and tried again
    with each later one. Rows that it has not taken at the end are written to a separate file.
    """

    def __init__(
        self,
        folder: Path,
        step: int,
        settings: Mapping[str, Any],
        *,
        silent: bool = False,
    ) -> None:
        """Open all loggers, to continue after ``step``."""
        self.folder = folder
        self._loggers: dict[str, Logger] = {}
        if not silent:
            for name in settings["loggers"]:
                self._loggers[name] = LOGGERS.load(name)(folder, step, settings)
        self._pending: dict[str, list[Row]] = {name: [] for name in self._loggers}
        self._failing: set[str] = set()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all loggers."""
        for name, logger in self._loggers.items():
            self._flush(name)
            try:
                logger.close()
            except Exception as failure:
                log.warning(
                    "WARNING: logger '%s' cannot be closed (%s)", name, _reason(failure)
                )
            if self._pending[name]:
                self._write_pending(name)

    def write(self, step: int, **values: float | None) -> None:
        """Log the values of a step; those that are None are left out."""
        present = {name: value for name, value in values.items() if value is not None}
        for name in self._loggers:
            # Every logger has its own queue: one that fails does not hold up the others.
            self._pending[name].append((step, present))
            self._flush(name)

    def _flush(self, name: str) -> None:
        """Log the rows that a logger has not taken yet, in order."""
        pending = self._pending[name]
        while pending:
            step, values = pending[0]
            try:
                self._loggers[name].log(step, values)
            except Exception as failure:
                # Any error, since loggers may be a user's; once, and not for each row of a long outage.
                if name not in self._failing:
                    self._failing.add(name)
                    log.warning(
                        "WARNING: logger '%s' failed at step %d (%s). Training continues, and its rows are "
                        "tried again",
                        name,
                        step,
                        _reason(failure),
                    )
                return
            self._failing.discard(name)
            # Only a row that was taken leaves the queue.
            del pending[0]

    def _write_pending(self, name: str) -> None:
        """Write the rows that a logger never took; if the disk refuses them, into the messages of the run."""
        rows = []
        for step, values in self._pending[name]:
            rows.append(json.dumps({"step": step, **values}))
        path = self.folder / f"unlogged_{name}.jsonl"
        try:
            with path.open("a", encoding="utf-8") as file:
                file.writelines(row + "\n" for row in rows)
        except OSError:
            log.warning(
                "WARNING: logger '%s' did not take these rows:\n%s",
                name,
                "\n".join(rows),
            )
        else:
            log.warning(
                "WARNING: logger '%s' did not take %d rows: they are in %s",
                name,
                len(rows),
                path,
            )


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a ``log.jsonl``; a last line that a crash left incomplete is dropped.

    Raises UserError, with the line, if it holds something else.
    """
    lines = path.read_bytes().splitlines() if path.is_file() else []
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError:
            # A crash can cut the last line; a broken line before it is damage.
            if number == len(lines):
                break
            row = None
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            raise UserError(
                f"{path}:{number}: must be a row of numbers with its step, but is {line[:60]!r}: "
                "fix the line, or move the file"
            )
        rows.append(row)
    return rows


def _reason(failure: Exception) -> str:
    return f"{type(failure).__name__}: {failure}"
