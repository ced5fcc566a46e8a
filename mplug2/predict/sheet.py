"""A contact sheet: images of each file and its predictions, as one HTML or PNG file."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import Protocol

from mplug2.predict.result import Result
from registry.errors import UserError

PICTURES = 4  # of each video
MOST = {
    ".html": 1000,
    ".png": 120,
}  # files on one sheet: browsers and images have limits


class Paper(Protocol):
    """Something that files can be put on."""

    def add(self, results: list[Result]) -> None:
        """Add a file with its predictions."""

    def finish(self, notes: list[str]) -> None:
        """Complete the file; ``notes`` are about all that was put on it."""


class Sheet:
    """A contact sheet in the making: it appears under its name when it is complete, and not on an error.

    Past `MOST` files it prints how many it leaves out.
    """

    def __init__(self, path: Path, heading: str) -> None:
        check_path(path)
        self.path, self.heading = path, heading
        self.files = self.failed = 0
        self.most = MOST[path.suffix.lower()]
        self._temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            self._file = self._temporary.open("wb")
        except OSError as error:
            raise self._unwritten(error) from None
        self._paper = self._chosen()

    def _chosen(self) -> Paper:
        if self.path.suffix.lower() == ".html":
            from mplug2.predict.sheet_html import HtmlPaper

            return HtmlPaper(self._file, self.heading)
        from mplug2.predict.sheet_png import PngPaper

        return PngPaper(self._file, self.heading)

    def add(self, results: list[Result]) -> None:
        """Put one file, with a result for each question about it."""
        self.files += 1
        self.failed += results[0].error is not None
        if self.files <= self.most:
            try:
                self._paper.add(results)
            except OSError as error:
                raise self._unwritten(error) from None

    def __enter__(self) -> Sheet:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._paper.finish(self._notes())
                self._file.close()
                self._temporary.replace(self.path)
        except OSError as problem:
            raise self._unwritten(problem) from None
        finally:
            with contextlib.suppress(
                OSError
            ):  # a full disk reports the same error again
                self._file.close()
            self._temporary.unlink(missing_ok=True)

    def _unwritten(self, error: OSError) -> UserError:
        return UserError(
            f"the contact sheet {self.path} cannot be written ({error.strerror or error})"
        )

    def _notes(self) -> list[str]:
        notes = [f"{self.files} file{'s' * (self.files != 1)}"]
        if self.failed:
            notes.append(f"{self.failed} could not be read")
        if self.files > self.most:
            notes.append(f"the first {self.most} are shown")
        return notes


def check_path(path: Path) -> None:
    """Raise UserError where no sheet can be written to ``path``."""
    if path.suffix.lower() not in MOST:
        raise UserError(f"a contact sheet must be a .html or .png file, but is {path}")
    if os.path.isdir(path) or not os.path.isdir(path.parent):
        raise UserError(
            f"the contact sheet {path} must be a file in a folder that exists"
        )
