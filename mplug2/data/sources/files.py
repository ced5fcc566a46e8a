"""Annotations in a file, or in the folders of the media themselves: the usual source."""

from __future__ import annotations

import zlib
from functools import cached_property
from pathlib import Path
from typing import Any

from mplug2.data.arguments import ArgumentError
from mplug2.data.sources.items import ItemSource
from mplug2.data.tasks.task import Task
from registry.errors import UserError

_CHUNK_BYTES = 1 << 22


class FileSource(ItemSource):
    """The items of one annotation file, read by the task; their media are files of a folder.

    ``path`` is the annotation file; for a task that reads folders of classes it may be such a folder, which
    then holds the media, too. All else is as for items in memory (`ItemSource`).
    """

    file_arguments = ("path", "media", "exclude_list")

    def __init__(self, path: str, task: Task, **settings: Any) -> None:
        self.path = Path(path)
        if self.path.is_dir() and getattr(task, "reads_folders", False):
            # The items are named from this folder on.
            settings["media"] = str(path)
        elif not self.path.is_file():
            raise ArgumentError(
                "path", f"the annotation file must exist, but {path} does not"
            )
        super().__init__(items=list(task.read(self.path)), task=task, **settings)
        if len(self) == 0:
            raise UserError(f"{path} must have at least one usable entry")

    @property
    def location(self) -> str:
        """The annotation file."""
        return str(self.path)

    def fingerprint(self) -> int:
        """Return a number that changes if the annotation file, or the names in its folder, do."""
        if self.path.is_dir():
            return zlib.crc32("\n".join([self.path.name, *self.names()]).encode())
        # Quick, since it is asked for at every start; `content_checksum` reads the file.
        state = f"{self.path.name} {self.path.stat().st_size} {len(self.items)}"
        return zlib.crc32(state.encode())

    @cached_property
    def content_checksum(self) -> int:
        """A checksum of the bytes of the annotation file, read once; of a folder its fingerprint."""
        if self.path.is_dir():
            return self.fingerprint()
        checksum = 0
        with self.path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                checksum = zlib.crc32(chunk, checksum)
        return checksum
