"""Windows of a plain text file of any size, each read when it is asked for."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Literal

from mplug2.data.arguments import ArgumentError, at_least
from mplug2.data.lazy_sequence import LazySequence
from mplug2.data.sources.items import ItemSource
from mplug2.data.tasks.task import Task

LOOK_AHEAD = 1024  # bytes that are searched for the end of a word
SPACE = re.compile(rb"\s")


class TextFileSource(ItemSource):
    """The windows of a plain text file: every byte in exactly one, in the order of the file.

    ``text_file`` is a UTF-8 file. It is never read into memory: a window is found by its number, and an epoch
    in training needs 8 bytes for each. A window has ``window_bytes`` bytes; with ``cut: words`` it begins and
    ends between words, up to 1,024 bytes later, with ``cut: bytes`` anywhere. ``start`` and ``end`` choose a
    part of the file by fractions of its bytes, such as the last tenth for validation.
    """

    file_arguments = ("text_file",)

    def __init__(
        self,
        text_file: str,
        task: Task,
        window_bytes: int = 384,
        cut: Literal["words", "bytes"] = "words",
        start: float = 0.0,
        end: float = 1.0,
        training: bool = False,
    ) -> None:
        at_least(1, window_bytes=window_bytes)
        if not 0 <= start < end <= 1:
            raise ArgumentError(
                "start",
                f"start must be below end, both from 0 to 1 (got {start:g}, {end:g})",
            )
        if not hasattr(task, "window"):
            name = type(task).__name__
            raise ArgumentError(
                "text_file",
                f"text_file needs a task of plain texts (got {name}). Use plain_text",
            )
        path = Path(text_file)
        if not path.is_file():
            raise ArgumentError(
                "text_file", f"the text file must exist, but {text_file} does not"
            )
        windows = _Windows(path, task, window_bytes, cut, start, end)
        if not len(windows):
            raise ArgumentError(
                "text_file",
                f"the text file must have at least one byte, but {text_file} has none",
            )
        self.windows = windows
        super().__init__(items=[], task=task, training=training)
        self.items = windows

    @property
    def location(self) -> str:
        """The text file."""
        return str(self.windows.path)

    def fingerprint(self) -> int:
        """Return a number that changes if the file or the windows do."""
        windows = self.windows
        text = f"{windows.path.name} {windows.first} {windows.last} {windows.window_bytes} {windows.cut}"
        return zlib.crc32(text.encode())


class _Windows(LazySequence[Any]):
    """The items of a text file, by number."""

    def __init__(
        self,
        path: Path,
        task: Any,
        window_bytes: int,
        cut: str,
        start: float,
        end: float,
    ) -> None:
        self.path, self.task, self.window_bytes, self.cut = (
            path,
            task,
            window_bytes,
            cut,
        )
        size = path.stat().st_size
        self.first, self.last = round(start * size), round(end * size)

    def __len__(self) -> int:
        return -(-(self.last - self.first) // self.window_bytes)

    def at(self, number: int) -> Any:
        """Return a window as an item of the task."""
        with self.path.open("rb") as file:
            begin, end = self._border(file, number), self._border(file, number + 1)
            file.seek(begin)
            content = file.read(max(end - begin, 0))
        # Bytes that are not UTF-8 must survive in windows of bytes, which may end inside a character.
        errors = "surrogateescape" if self.cut == "bytes" else "replace"
        return self.task.window(content.decode("utf-8", errors))

    def _border(self, file: BinaryIO, number: int) -> int:
        """Return where a window begins: after the first white space from its nominal place on.

        It depends on the file and the number alone, so neighbouring windows agree on it.
        """
        nominal = self.first + number * self.window_bytes
        if nominal >= self.last:
            return self.last
        if self.cut == "bytes" or number == 0:
            return nominal
        file.seek(nominal - 1)
        following = file.read(min(LOOK_AHEAD, self.last - nominal + 1))
        space = SPACE.search(following)
        # The window begins after the space, which belongs to the one before it.
        return nominal if space is None else min(nominal + space.start(), self.last)
