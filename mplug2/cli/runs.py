"""`mplug2 table`: what several runs measured, side by side."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mplug2.cli.tables import print_table

if TYPE_CHECKING:
    from mplug2.train.seeds import Spread


def add_to(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(
        "table", epilog="Example: mplug2 table runs/cola_tiny runs/mrpc_tiny --average"
    )(table)


def table(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Run folders, also those of `train --seeds`."
        ),
    ],
    average: Annotated[
        bool,
        typer.Option(
            "--average",
            help="Add the mean of each run's values, and the mean of these over all runs, as GLUE does.",
        ),
    ] = False,
) -> None:
    """Print what the best checkpoints of runs measured in training; of several seeds median and extent."""
    from mplug2.train.seeds import spread_of_runs

    rows, scores = [], []
    for run in runs:
        spreads = spread_of_runs(run)
        row = [
            run.name,
            ", ".join(f"{name} {_text(spread)}" for name, spread in spreads.items()),
        ]
        if average and spreads:
            scores.append(
                statistics.fmean(spread.median for spread in spreads.values())
            )
            row.append(f"{scores[-1]:.4f}")
        rows.append(row)
    if scores:
        rows.append(["average", "", f"{statistics.fmean(scores):.4f}"])
    columns = ["run", "values", *(["score"] if average else [])]
    print_table(
        "best checkpoints, on the validation split", columns, rows, right=["score"]
    )


def print_spreads(folder: Path) -> None:
    """Print the values of all seeds in a run folder."""
    from mplug2.train.seeds import spread_of_runs

    for name, spread in spread_of_runs(folder).items():
        print(f"{name}: {_text(spread)}")


def _text(spread: Spread) -> str:
    if spread.num_runs == 1:
        return f"{spread.median:.4f}"
    extent = f"{spread.least:.4f} to {spread.greatest:.4f}, {spread.num_runs} seeds"
    return f"{spread.median:.4f} ({extent})"
