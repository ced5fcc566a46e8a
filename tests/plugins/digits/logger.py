"""A logger: a CSV file with one line for each value."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class CsvLogger:
    """Writes ``log.csv`` into the run folder: step, name, value."""

    def __init__(self, folder: Path, step: int, settings: Mapping[str, Any]) -> None:
        """Open the file to continue after ``step``: rows beyond it come again, and are dropped."""
        path = folder / "log.csv"
        rows = [["step", "name", "value"]]
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                rows += [row for row in list(csv.reader(file))[1:] if int(row[0]) <= step]
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        self._writer.writerows(rows)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of a step."""
        self._writer.writerows([step, name, value] for name, value in values.items())
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
