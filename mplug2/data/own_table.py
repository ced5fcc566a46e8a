"""A user's table, with a folder of images or videos, turned into the JSON lines of the tasks.

Every row is read for itself: what can be repaired for certain is repaired, other rows are refused, and the
report counts both with the first place of each reason.
"""

from __future__ import annotations

import csv
import io
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mplug2.data.files import read_text
from mplug2.data.json_text import JsonError, parse_json
from mplug2.data.rows import shown
from mplug2.data.table_media import MediaFiles, Refused
from registry.errors import UserError

Kind = Literal["video", "image", "text"]
MEDIA_KEYS = {"video": "video_id", "image": "image"}
FILE_COLUMNS = (
    "video_id",
    "video",
    "image",
    "image_id",
    "file",
    "file_name",
    "filename",
    "path",
    "name",
)
# What a column of splits may hold.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
}
SPLIT_NAMES |= {"dev": "val", "test": "test", "testing": "test"}
SEPARATORS = ",;\t|"
SPACES = re.compile(r"\s+")


@dataclass
class Tally:
    """How often each repair or refusal happened, and the first place of each."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, where: str) -> None:
        """Count one case."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self.first.setdefault(reason, where)

    @property
    def total(self) -> int:
        """The number of all cases."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class Columns:
    """Which columns of a table mean what; ``fields`` maps keys of the JSON lines to columns."""

    fields: Mapping[str, str]  # {"question": "Q", "answer": "A"}
    file: str | None = None
    split: str | None = None


@dataclass
class OwnTable:
    """The rows that are used, as (split or '', JSON line), and what was repaired and refused."""

    kind: Kind
    rows_read: int = 0
    rows: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    repaired: Tally = field(default_factory=Tally)
    refused: Tally = field(default_factory=Tally)


def read_own_table(
    path: Path, columns: Columns, folder: Path | None = None
) -> OwnTable:
    """Return the rows of a .csv, .tsv or .jsonl file, plain or .gz.

    ``folder``: where the files are that the rows name; without it the rows are texts. Raises UserError for a
    file that is not a table, for a column that does not exist, and if no row can be used.
    """
    files = MediaFiles(folder) if folder is not None else None
    table = OwnTable(files.kind if files else "text")
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    is_json = suffixes[-1:] in ([".jsonl"], [".json"])
    reader = _RowReader(columns, files, table)
    seen: set[str] = set()
    for where, values in _json_rows(path) if is_json else _table_rows(path):
        table.rows_read += 1
        try:
            if isinstance(values, str):
                raise Refused(values)
            split, row = reader.row(values, where, path)
        except Refused as reason:
            table.refused.add(str(reason), where)
            continue
        if repr(row) in seen:
            table.repaired.add("rows that repeat another one were left out", where)
            continue
        # By its text, since a row with a list cannot be in a set.
        seen.add(repr(row))
        table.rows.append((split, row))
    if not table.rows:
        reasons = []
        for refusal, first in table.refused.first.items():
            reasons.append(f"{refusal} ({first})")
        raise UserError(
            f"{path}: at least one row must be usable (got none of {table.rows_read}). {'; '.join(reasons)}"
        )
    return table


def _json_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield place and object of each line; a text in place of an object is the reason for having none."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = parse_json(line)
        except JsonError:
            value = "the line is not JSON"
        if not isinstance(value, dict | str):
            value = "the line is not a JSON object"
        yield f"{path}:{number}", value


def _table_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield place and values by column of each row; a text in place of them is the reason for having none."""
    text = read_text(path)
    header = text.partition("\n")[0]
    # Spreadsheets of many countries write semicolons into a .csv.
    separator = max(SEPARATORS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        names = [name.strip() for name in next(reader, [])]
        # Columns without a name may repeat: exports often end in empty ones.
        repeated = sorted({name for name in names if names.count(name) > 1 and name})
        if repeated:
            raise UserError(
                f"{path}:1: the names of columns must differ (got {repeated[0]!r} twice)"
            )
        for values in reader:
            where = f"{path}:{reader.line_num}"
            if not any(value.strip() for value in values):
                continue
            if len(values) == len(names):
                yield where, dict(zip(names, values, strict=True))
            else:
                yield where, "another number of columns"
    except csv.Error as error:
        raise UserError(
            f"{path}:{reader.line_num}: the table cannot be read ({error})"
        ) from None


class _RowReader:
    """Turns the values of one row into a JSON line."""

    def __init__(
        self, columns: Columns, files: MediaFiles | None, table: OwnTable
    ) -> None:
        self.columns, self.files, self.table = columns, files, table
        self.file_column = columns.file
        self.is_first = True

    def row(
        self, values: Mapping[str, Any], where: str, path: Path
    ) -> tuple[str, dict[str, Any]]:
        """Return the split that the row names, '' for none, and its JSON line; raise Refused or UserError."""
        if self.is_first:
            self.is_first = False
            self._check_columns(values, path)
        row: dict[str, Any] = {}
        if self.files is not None and self.file_column is not None:
            name = self._text(values, self.file_column, where)
            file = self.files.find(name, where)
            if file != name:
                self.table.repaired.add(
                    "names of files were completed or corrected", where
                )
            row[MEDIA_KEYS[self.files.kind]] = file
        for key, column in self.columns.fields.items():
            value = values.get(column)
            if isinstance(value, list) and key in ("answer", "caption"):
                # A file may have several captions, a question several answers.
                row[key] = [self._text({column: item}, column, where) for item in value]
                if not value:
                    raise Refused(f"'{column}' is empty")
            else:
                row[key] = self._text(values, column, where)
        return self._split(values, where), row

    def _check_columns(self, values: Mapping[str, Any], path: Path) -> None:
        """Raise UserError for a column that the table lacks; choose that of the files if none is named."""
        listed = ", ".join(values)
        if self.files is not None and self.file_column is None:
            for name in FILE_COLUMNS:
                if name in values:
                    self.file_column = name
                    break
            else:
                raise UserError(
                    f"{path}: --file must name the column of the files. Columns: {listed}"
                )
        needed = [*self.columns.fields.values(), self.columns.split, self.file_column]
        for column in needed:
            if column is not None and column not in values:
                raise UserError(
                    f"{path}: there is no column '{column}'. Columns: {listed}"
                )

    def _text(self, values: Mapping[str, Any], column: str, where: str) -> str:
        """Return the text of a column without needless spaces."""
        value = values.get(column)
        if isinstance(value, bool) or not isinstance(value, str | int | float | None):
            raise Refused(f"'{column}' is not a text")
        text = "" if value is None else str(value)
        stripped = SPACES.sub(" ", text).strip()
        if not stripped:
            raise Refused(f"'{column}' is empty")
        if stripped != text:
            self.table.repaired.add(
                f"spaces and line breaks in '{column}' were removed", where
            )
        return stripped

    def _split(self, values: Mapping[str, Any], where: str) -> str:
        if self.columns.split is None:
            return ""
        name = self._text(values, self.columns.split, where)
        split = SPLIT_NAMES.get(name.lower())
        if split is None:
            raise Refused(f"'{self.columns.split}' is not train, val or test")
        return split


def split_rows(
    rows: Iterable[tuple[str, dict[str, Any]]], val: float, test: float
) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each split that has any: by what the rows name, or by fractions of the files.

    All rows of a file are in the same split. Which files these are follows from their names alone.
    """
    rows = list(rows)
    splits: dict[str, list[dict[str, Any]]] = {"train": [], "val": [], "test": []}
    names = {_media(row) for _, row in rows}
    # In an order that looks random but follows from the names, so that a table may grow.
    ordered = sorted(names, key=lambda name: (zlib.crc32(name.encode()), name))
    shares = {"val": val, "test": test}
    split_of = dict.fromkeys(ordered, "train")
    begin = 0
    for split, share in shares.items():
        # At least one file for each split that is asked for, if training keeps one.
        count = 0
        if share > 0 and len(ordered) > len(shares):
            count = max(1, round(share * len(ordered)))
        split_of |= dict.fromkeys(ordered[begin : begin + count], split)
        begin += count
    for split, row in rows:
        splits[split or split_of[_media(row)]].append(row)
    return {split: rows for split, rows in splits.items() if rows}


def _media(row: Mapping[str, Any]) -> str:
    """Return what a row is about: its file, or its first text."""
    for key in MEDIA_KEYS.values():
        if key in row:
            return str(row[key])
    return str(next(iter(row.values())))


def class_names(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the labels of all rows, sorted; UserError for fewer than two."""
    labels = sorted({row["label"] for row in rows})
    if len(labels) < 2:
        raise UserError(
            f"a table of classes must have two or more labels (got {shown(labels)})"
        )
    return labels
