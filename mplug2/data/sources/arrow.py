"""Tables of ViLT and VLMo: images and texts in Arrow files, read where they are."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

from mplug2.data.arguments import ArgumentError
from mplug2.data.arrow.rows import lines_of
from mplug2.data.arrow.table import ArrowTable
from mplug2.data.media.folder import MediaFolder
from mplug2.data.media.pixel_file import MediaValue
from mplug2.data.packed_file import PackedFile
from mplug2.data.sources.items import ItemSource
from mplug2.data.tasks.task import Task
from registry.errors import UserError


class ArrowSource(ItemSource):
    """The rows of one or several Arrow tables, as the programs of ViLT and VLMo write them.

    ``arrow``: the path of a table, or a list of them, which are one after the other. The columns decide what
    a row holds: ``image`` and ``caption`` (a list of texts), ``image`` and ``questions`` with ``answers`` and
    ``answer_scores``, or ``image_0``, ``image_1`` and ``questions`` with ``answers`` ("True", "False"). Texts
    are read at the start, images when they are needed, from the memory-mapped file. In results an image is
    named TABLE/ROW.COLUMN. ``media`` is not read.

    VLMo's splits: COCO trains on ``train`` and ``restval``; VQA v2 on ``train`` and ``trainable_val``, with
    ``rest_val`` as validation; NLVR2 has ``dev`` and ``test1``.
    """

    file_arguments = ("exclude_list",)

    def __init__(self, arrow: str | list[str], task: Task, **settings: Any) -> None:
        listed = [arrow] if isinstance(arrow, str) else arrow
        paths = [Path(path) for path in listed]
        for path in paths:
            if not path.is_file():
                raise ArgumentError(
                    "arrow", f"each table must exist, but {path} does not"
                )
        if not paths:
            raise ArgumentError(
                "arrow", "arrow must name at least one table, but is an empty list"
            )
        tables = [ArrowTable(path) for path in paths]
        self.tables = {table.path.stem: table for table in tables}
        if len(self.tables) < len(tables):
            raise ArgumentError(
                "arrow",
                f"tables must differ in their names (got {', '.join(map(str, paths))})",
            )
        self._location = ", ".join(table.address for table in tables)
        lines: list[dict[str, Any]] = []
        for table in tables:
            lines += lines_of(table)
        # Tasks read annotations by functions that take a path; those also read a file in memory.
        annotations: Any = _annotations(self._location, lines)
        settings["media"] = None
        super().__init__(items=list(task.read(annotations)), task=task, **settings)
        if len(self) == 0:
            raise UserError(f"{self._location} must have at least one usable row")

    def _open_media(
        self, media: str | None, view: str, stream: Any, **settings: Any
    ) -> MediaFolder:
        return _TableMedia(self.tables, view, stream, **settings)

    @property
    def location(self) -> str:
        """The tables."""
        return self._location

    def fingerprint(self) -> int:
        """Return a number that changes if a table has another size, or other tables are named."""
        sizes = []
        for table in self.tables.values():
            sizes.append(f"{table.path.name} {table.path.stat().st_size}")
        return zlib.crc32("\n".join(sizes).encode())


class _TableMedia(MediaFolder):
    """Images of tables instead of a folder."""

    def __init__(
        self, tables: dict[str, ArrowTable], view: str, stream: Any, **settings: Any
    ) -> None:
        first = next(iter(tables.values()))
        super().__init__(first.path.parent, view, stream, **settings)
        self.tables = tables

    def file(self, name: str) -> MediaValue:
        """Return the cell that a name means; where there is none, the file of that name in the folder."""
        stem, _, cell = name.rpartition("/")
        row, _, column = cell.partition(".")
        if (
            stem in self.tables
            and row.isdecimal()
            and int(row) < len(self.tables[stem])
        ):
            return self.tables[stem].image(int(row), column)
        return super().file(name)


class _Lines:
    """The lines of annotations in memory, as an archive of one file."""

    num_files = 1

    def __init__(self, address: str, content: bytes) -> None:
        self.address, self.content = address, content

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return the lines."""
        return self.content


def _annotations(address: str, lines: list[dict[str, Any]]) -> PackedFile:
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    # Texts from the web may hold half characters, which are kept.
    content = text.encode("utf-8", "surrogatepass")
    return PackedFile(_Lines(address, content), "rows.jsonl", 0, len(content))
