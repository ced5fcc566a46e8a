"""Images and videos with labels, as files list them: a folder for each class, tables, JSON lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mplug2.data.formats.files import table
from mplug2.data.formats.find_files import VIDEOS, walk
from mplug2.data.rows import media_name, shown
from mplug2.data.tables import read_table
from registry.errors import UserError

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif")
_NAMES = ("video_id", "image")  # where a row names its file, if the spec names no field


@dataclass(frozen=True)
class LabelledMedia:
    """One image or video: its id, its name in the media folder, and the names of its classes, which may be
    none in a test set. ``view`` is the number of the view of it that is meant, if there are several."""

    id: int | str
    name: str
    labels: tuple[str, ...]
    view: int = 0


@dataclass(frozen=True)
class LabelReader:
    """Reads labelled media; ``names`` maps labels in the data to names of classes.

    ``media_field`` and ``label_field`` are columns or keys. ``separator`` splits the text of a label into
    several. Labels are ``required`` in training.
    """

    names: Mapping[str, str]
    media_field: str | None
    label_field: str
    separator: str | None
    required: bool

    def folder(self, path: Path, kind: str) -> Iterator[LabelledMedia]:
        """Yield the files of a folder that has a folder for each class, in the order of their names.

        ``kind`` is ``frames`` or ``image``. UserError for a folder whose name is not a class.
        """
        suffixes = VIDEOS if kind == "frames" else IMAGES
        number = 0
        for class_folder in sorted(path.iterdir()):
            if not class_folder.is_dir():
                continue
            label = self._class_name(class_folder.name, str(class_folder))
            for file in walk(class_folder):
                if file.suffix.lower() in suffixes:
                    name = file.relative_to(path).as_posix()
                    yield LabelledMedia(number, name, (label,))
                    number += 1

    def rows(self, path: Path) -> Iterator[LabelledMedia]:
        """Yield the rows of a .csv, .tsv or .jsonl file, plain or .gz; UserError with file and line."""
        for number, (location, row) in enumerate(_located_rows(path)):
            name = media_name(self._file_name(row, location), location)
            labels = self._labels(row, location)
            yield LabelledMedia(row.get("question_id", number), name, labels)

    def _file_name(self, row: Mapping[str, Any], location: str) -> str:
        fields = _NAMES if self.media_field is None else (self.media_field,)
        for field in fields:
            name = row.get(field)
            if isinstance(name, str | int) and not isinstance(name, bool):
                return str(name)
        raise UserError(
            f"{location}: a row must name its file by {' or '.join(map(repr, fields))} "
            f"(got {', '.join(map(repr, row))}). Set data.media_field"
        )

    def _labels(self, row: Mapping[str, Any], location: str) -> tuple[str, ...]:
        value = row.get(self.label_field)
        if value is None and not self.required:
            return ()
        labels = value if isinstance(value, list) else [value]
        if self.separator is not None and isinstance(value, str):
            parts = [part.strip() for part in value.split(self.separator)]
            labels = [part for part in parts if part]
        for label in labels:
            # Numbers are labels, too; true and false are integers in Python only.
            if not isinstance(label, str | int) or isinstance(label, bool):
                raise UserError(
                    f"{location}: '{self.label_field}' must be a label or a list of labels (got {shown(value)}). "
                    "Set data.label_field"
                )
        return tuple(self._class_name(str(label), location) for label in labels)

    def _class_name(self, label: str, location: str) -> str:
        if label not in self.names:
            choices = ", ".join(list(self.names)[:8])
            more = ", ..." if len(self.names) > 8 else ""
            raise UserError(
                f"{location}: a label must be one of {choices}{more} (got {shown(label)}). "
                "Set data.labels or data.labels_file"
            )
        return self.names[label]


def _located_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    if suffixes[-1:] == [".csv"]:
        for entry in table(path, ","):
            yield entry.where, entry.values
        return
    rows = read_table(path)
    if rows.refused:
        raise UserError(
            f"{rows.refused[0]}, but the header has another number. Correct the row"
        )
    for row in rows.rows:
        yield row.location, row.values
