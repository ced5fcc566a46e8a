"""What commands print: tables, numbers, and the log of the run."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from mplug2.metrics.metric import ResultTable

LONGEST_CELL = 80  # characters


def console() -> Console:
    """A console as wide as the terminal; in a pipe wide enough that no row is cut."""
    # Imported here and below: a check that finds nothing prints no table.
    from rich.console import Console

    plain = Console(highlight=False)
    if plain.is_terminal:
        return plain
    return Console(highlight=False, width=max(plain.width, 200))


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    right: Sequence[str] = (),
) -> None:
    """Print rows under a title; the columns named in ``right`` are aligned there."""
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        header_style="dim",
    )
    for column in columns:
        table.add_column(
            column, justify="right" if column in right else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    screen = console()
    # Captured, so that no line ends in the spaces that rich pads with.
    with screen.capture() as printed:
        screen.print(table)
    print("\n".join(line.rstrip() for line in printed.get().splitlines()))


def print_result_table(result: ResultTable) -> None:
    """Print a table of an evaluation; columns with a format hold numbers and are aligned to the right."""
    from rich.table import Table
    from rich.text import Text

    # As `Text`, names from data are shown unchanged: "[red]" sets no colour.
    table = Table(title=Text(result.title))
    for column, form in zip(result.columns, result.formats, strict=True):
        table.add_column(Text(column), justify="right" if form else "left")
    for number, row in enumerate(result.rows):
        if number in result.sections:
            table.add_section()
        cells = []
        for cell, form in zip(row, result.formats, strict=True):
            cells.append(Text(_short(format(cell, form))))
        table.add_row(*cells)
    console().print(table)


def _short(cell: str) -> str:
    return cell if len(cell) <= LONGEST_CELL else f"{cell[: LONGEST_CELL - 3]}..."


def amount(number: float, unit: str = "") -> str:
    """Write a count with three digits: 1_030_000_000 is 1.03 G."""
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g} {prefix}{unit}"
    return f"{number:.3g} {unit}".rstrip()


@contextlib.contextmanager
def log_shown() -> Iterator[None]:
    """While open, print what mplug2 logs: on rank 0 all of it, on the others warnings."""
    logger, handler = logging.getLogger("mplug2"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(
        logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING
    )
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
