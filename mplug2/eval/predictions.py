"""The rows of an evaluation: merged over ranks, ordered, and written to a file."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from mplug2.metrics.metric import Row
from mplug2.runtime.atomic_write import atomic_write
from mplug2.runtime.jsonl import finite, json_line
from registry.errors import UserError

log = logging.getLogger(__name__)


def merge_rows(parts: Sequence[Sequence[Row]]) -> list[Row]:
    """Return the rows of all ranks in the order of their questions, without those that repeat a sample."""
    rows = []
    for part in parts:
        for row in part:
            # A loader may repeat samples so that ranks get equally many; it marks them as padding.
            if not row.get("padding"):
                rows.append(row)
    rows.sort(key=_order)
    return rows


def write_jsonl(path: Path, rows: Sequence[Row]) -> None:
    """Write one JSON object a line to ``path``, atomically; numbers that are not finite become null."""
    if damaged := sum(finite(row) != row for row in rows):
        log.warning(
            "%s: %d of %d rows have numbers that are not finite: null",
            path,
            damaged,
            len(rows),
        )
    with atomic_write(path) as file:
        file.writelines(json_line(row) + "\n" for row in rows)


def without_fields(rows: Sequence[Row], fields: Collection[str]) -> Sequence[Row]:
    """Return the rows without some of their fields."""
    if not fields:
        return rows
    # New rows: metrics have computed from the complete ones, and tables may still read them.
    kept = []
    for row in rows:
        kept.append({name: value for name, value in row.items() if name not in fields})
    return kept


def values_in_words(values: Mapping[str, float]) -> str:
    """Return values for a message: `accuracy 0.5000, cider 1.2000`."""
    words = [f"{name} {value:.4f}" for name, value in values.items()]
    return ", ".join(words) or "nothing"


def write_predictions(
    path: Path, rows: Sequence[Row], values: Mapping[str, float]
) -> None:
    """Write the rows; the error of a failed write reports the values, which would be lost with them."""
    try:
        write_jsonl(path, rows)
    except UserError as error:
        raise UserError(f"{error}; measured: {values_in_words(values)}") from None


def _order(row: Row) -> tuple[bool, int, str]:
    """Return the sort key of a row: numbered questions first, then the named ones."""
    name = row.get("question_id", 0)
    return (False, name, "") if isinstance(name, int) else (True, 0, str(name))
