"""Public files as text, JSON, tables and lines: plain or .gz, bounded, every entry with its place."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mplug2.data.files import read_text
from mplug2.data.formats.entry import Entry
from mplug2.data.json_text import JsonError, parse_json
from mplug2.data.rows import shown
from registry.errors import UserError


def load(path: Path) -> Any:
    """Return the value of a JSON file; of JSON lines a list of their `Entry` objects, which know their
    line."""
    text = read_text(path)
    first, _, rest = text.lstrip().partition("\n")
    try:
        return parse_json(text)
    except JsonError as error:
        # JSON lines, if the first line is JSON by itself.
        try:
            parse_json(first)
        except JsonError:
            raise UserError(
                f"{path} must be JSON, but {error}; was the download complete?"
            ) from None
    if not rest.strip():
        raise UserError(f"{path} must be JSON, but is not; was the download complete?")
    return list(_lines_of_objects(path, text))


def json_entries(path: Path, *under: str) -> Iterator[Entry]:
    """Yield the objects of a file: of its list, of the list ``under`` one of these keys, or of its lines; of
    a mapping of objects its values."""
    yield from entries_of(load(path), str(path), *under)


def entries_of(value: Any, where: str, *under: str) -> Iterator[Entry]:
    """Yield the objects of a list, of the list that a mapping has ``under`` one of these keys, or of a
    mapping of objects."""
    if isinstance(value, dict):
        key = next((key for key in under if key in value), None)
        if key is not None:
            value, where = value[key], f"{where}: {key}"
    if isinstance(value, list):
        for number, item in enumerate(value, 1):
            # An entry of JSON lines has the number of its line already.
            is_entry = isinstance(item, Entry)
            yield item if is_entry else Entry.of(item, f"{where}: entry {number}")
    elif isinstance(value, dict) and not under:
        if all(isinstance(item, dict) for item in value.values()):
            for key, item in value.items():
                yield Entry(item, f"{where}: {shown(key)}")
        else:
            # A file of one line.
            yield Entry(value, where)
    else:
        expected = "a list"
        if under:
            expected = f"a mapping with {' or '.join(map(repr, under))}, or a list"
        raise UserError(f"{where}: must be {expected}, but is {_kind(value)}")


def table(
    path: Path, delimiter: str, columns: Sequence[str] = (), *, quotes: bool = True
) -> Iterator[Entry]:
    """Yield the rows of a table; ``columns`` names them where the file has no header."""
    reader = csv.DictReader(
        io.StringIO(read_text(path), newline=""),
        columns or None,
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
    )
    try:
        for row in reader:
            where = f"{path}:{reader.line_num}"
            # `csv` puts surplus fields under the key None, and gives None to columns that a row lacks.
            if None in row or None in row.values():
                expected = len(reader.fieldnames or ())
                num_lacking = sum(value is None for value in row.values())
                num_columns = expected + len(row.get(None, ())) - num_lacking
                raise UserError(
                    f"{where}: a row must have {expected} columns, but has {num_columns}"
                )
            yield Entry(row, where)
    except csv.Error as error:
        raise UserError(
            f"{path}:{reader.line_num}: the table cannot be read ({error})"
        ) from None


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield place and text of the lines that are not empty."""
    # Not str.splitlines, which also breaks lines at characters that occur in captions (U+0085, U+2028).
    for number, line in enumerate(io.StringIO(read_text(path), newline=None), 1):
        if line.strip():
            yield f"{path}:{number}", line.strip()


def _lines_of_objects(path: Path, text: str) -> Iterator[Entry]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = parse_json(line)
        except JsonError as error:
            raise UserError(
                f"{path}:{number}: a line must be a JSON object, but {error}; was the download complete?"
            ) from None
        yield Entry.of(value, f"{path}:{number}")


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return (
            f"a mapping with {', '.join(map(repr, list(value)[:4])) or 'nothing in it'}"
        )
    return type(value).__name__
