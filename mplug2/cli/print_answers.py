"""How `mplug2 predict` prints answers: as text or JSON lines, with a progress bar and a summary."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer

from registry.errors import UserError

if TYPE_CHECKING:
    from mplug2.predict.result import Result

_SHOWN = 20  # files that a message lists


class Summary:
    """What could not be read or scored among the entries of a command."""

    def __init__(self, num_entries: int) -> None:
        self.num_entries = num_entries
        self.num_broken = self.num_damaged = 0
        self.reasons: list[str] = []
        self.notes: Counter[str] = Counter()

    def add(self, results: list[Result], single: bool) -> None:
        """Count the results of one entry; UserError if the only entry cannot be read."""
        from mplug2.predict.result import printable

        error = results[0].error
        if error is not None:
            self.num_broken += 1
            # A command for one file fails with it; a folder or a list goes through to its end.
            if single:
                raise UserError(printable(error))
            if self.num_broken <= _SHOWN:
                self.reasons.append(error)
        for result in results:
            self.notes.update(result.notes)
        # NaN scores sort anywhere: the answers are of no use.
        self.num_damaged += not all(result.numbers for result in results)

    def print_notes(self) -> None:
        """Print what the network did not know or see, each note once with the number of its answers."""
        from mplug2.predict.result import printable

        for note, number in self.notes.most_common(_SHOWN):
            answers = f" ({number} answers)" if number > 1 else ""
            print(f"note: {printable(note)}{answers}", file=sys.stderr)

    def print_damaged(self) -> None:
        """Print how many scores are not numbers."""
        if self.num_damaged:
            message = (
                f"{self.num_damaged} of {self.num_entries} answers have NaN or infinite scores; "
                "the checkpoint may be damaged"
            )
            print(message, file=sys.stderr)

    def print(self) -> None:
        """Print a summary on standard error; exit code 1 if files could not be read."""
        from mplug2.predict.result import printable

        print(
            f"{self.num_entries - self.num_broken} of {self.num_entries} answered",
            file=sys.stderr,
        )
        if not self.num_broken:
            return
        print(f"{self.num_broken} could not be read:", file=sys.stderr)
        for reason in self.reasons:
            print(f"  {printable(reason)}", file=sys.stderr)
        if self.num_broken > len(self.reasons):
            print(f"  and {self.num_broken - len(self.reasons)} more", file=sys.stderr)
        raise typer.Exit(1)


def write_results(results: list[Result], file: TextIO, in_words: bool) -> None:
    """Write the results of one entry as text or as JSON lines."""
    from mplug2.predict.result import line, printable

    for result in results:
        if not in_words:
            # Flushed: whoever reads a pipe gets each answer as soon as it exists.
            print(line(result, file.encoding or "utf-8"), file=file, flush=True)
            continue
        parts = [result.name] if result.media else []
        if result.question is not None:
            parts.append(printable(result.question))
        print(f"{': '.join(parts)}\n  {printable(str(result))}", file=file)
        if result.alternatives:
            others = ", ".join(map(str, result.alternatives))
            print(f"  next best: {printable(others)}", file=file)


@contextlib.contextmanager
def opened_output(out: Path | None) -> Iterator[TextIO]:
    """Open the file that results go to: standard output unless one is named."""
    if out is None:
        yield sys.stdout
        return
    try:
        with out.open("w", encoding="utf-8") as file:
            yield file
    except OSError as error:
        # Of this file only: readers report errors of other files.
        raise UserError(f"--out {out} cannot be written ({error.strerror})") from None


@contextlib.contextmanager
def progress_bar(total: int, hidden: bool) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error if that is a terminal.

    The function that it yields takes the number of files that could not be read so far.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=hidden or not console.is_terminal,
        # Results go to standard output unchanged, also while the bar is shown.
        redirect_stdout=False,
    )
    with bar:
        task = bar.add_task("", total=total)

        def step(broken: int) -> None:
            bar.update(
                task, advance=1, description=f"{broken} broken" if broken else ""
            )

        yield step
