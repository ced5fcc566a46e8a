"""Tables of text: tab-separated, without quoting, as GLUE publishes them; or JSON lines."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mplug2.data.files import read_text
from mplug2.data.rows import kind_of, read_rows
from registry.errors import UserError

MAX_REFUSED = 0.01  # fraction of rows that may have another number of columns; more means another format
JSON_SUFFIXES = (".json", ".jsonl")
_FORM = "a line must be a JSON object with one value for each column"
_COLUMN = re.compile(r"[\w.#-]{1,30}")


@dataclass(frozen=True)
class Row:
    """One row: its location for messages, and its values by column."""

    location: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Table:
    """The rows of a file, and the locations of rows that were refused for their number of columns."""

    rows: list[Row]
    refused: list[str] = field(default_factory=list)


def read_table(path: Path, columns: list[str] | None = None) -> Table:
    """Return the rows of a .tsv, .txt or .jsonl file, plain or .gz.

    Columns are split at tabs alone: a quotation mark is a character like any other, since GLUE's files do
    not quote (in QQP and SNLI a lone mark would swallow rows). ``columns`` names those of a file without a
    header line. A row with another number of columns is refused; more than 1 % of them raise UserError.
    """
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    if suffixes and suffixes[-1] in JSON_SUFFIXES:
        return Table(
            [_json_row(location, row) for location, row in read_rows(path, _FORM)]
        )
    lines = read_text(path).split("\n")
    first = 1
    if columns is None:
        columns = lines[0].rstrip("\r").split("\t")
        lines, first = lines[1:], 2
    rows, refused = [], []
    for number, line in enumerate(lines, first):
        line = line.rstrip("\r")
        if not line:
            continue
        location, values = f"{path}:{number}", line.split("\t")
        if len(values) != len(columns):
            refused.append(f"{location}: {len(values)} columns")
            continue
        rows.append(Row(location, dict(zip(columns, values, strict=True))))
    if len(refused) > MAX_REFUSED * (len(rows) + len(refused)):
        raise UserError(
            f"{path}: a row must have the columns {column_names(columns)}, separated by tabs (got "
            f"{len(refused)} of {len(rows) + len(refused)} rows with another number, the first at "
            f"{refused[0]}). Name the columns of a file without a header by `columns: [...]`"
        )
    return Table(rows, refused)


def column_names(names: Iterable[str]) -> str:
    """Return names of columns as messages list them.

    The first line of a file that is not a table is not quoted: what is not a short word becomes `...`.
    """
    return ", ".join(name if _COLUMN.fullmatch(name) else "..." for name in names)


def _json_row(location: str, row: Any) -> Row:
    if not isinstance(row, dict):
        raise UserError(f"{location}: {_FORM}, but is {kind_of(row)}")
    return Row(location, row)
