"""`mplug2 compare`: which of several runs is better, and whether the difference is more than chance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mplug2.cli.tables import print_table
from registry.errors import UserError, visible

if TYPE_CHECKING:
    from mplug2.eval.compare import Comparison, MeasuredRun


def add_to(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(
        "compare", epilog="Example: mplug2 compare runs/first/report runs/second/report"
    )(compare)


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Folders that `mplug2 eval --report` wrote, or folders with such a folder `report`. "
            "The others are compared with the first.",
        ),
    ],
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.")
    ] = False,
) -> None:
    """Compare runs on the same samples: values, differences with 95 % intervals, and whether they are real."""
    if len(runs) < 2:
        raise UserError(
            f"compare needs two or more runs (got {len(runs)}). Add a folder"
        )
    from mplug2.eval.compare import compare_runs, read_run
    from mplug2.runtime.jsonl import json_line

    measured = [read_run(folder) for folder in runs]
    comparisons = compare_runs(measured)
    if json:
        print(json_line(_as_data(runs, measured, comparisons)))
        return
    _print_values(runs, measured)
    _print_differences(runs, comparisons)


def _print_values(runs: list[Path], measured: list[MeasuredRun]) -> None:
    rows = []
    for folder, run in zip(runs, measured, strict=True):
        for entry in run.entries.values():
            for name, value in entry["values"].items():
                label = f"{entry['name']}/{name}" if entry["name"] else name
                rows.append((folder, visible(label), *_numbers(value)))
    columns = ("run", "value", "measured", "95 % interval")
    print_table("values", columns, rows, right=["measured"])


def _print_differences(runs: list[Path], comparisons: list[Comparison]) -> None:
    rows = []
    for row in comparisons:
        difference = row.difference
        label = f"{row.evaluation}/{row.value}" if row.evaluation else row.value
        low, high = difference.interval.low, difference.interval.high
        cells = (f"{difference.value:+.4f}", f"{low:+.4f} to {high:+.4f}")
        verdict = "yes" if difference.is_real else "no"
        rows.append(
            (runs[row.run], visible(label), *cells, f"{difference.p:.3f}", verdict)
        )
    if not rows:
        print(
            "no differences: the runs have no value that the written rows are enough for"
        )
        return
    columns = ("run", "value", "difference", "95 % interval", "p", "real")
    title = f"differences from {runs[0]}, by the paired bootstrap"
    print_table(title, columns, rows, right=["difference", "p"])


def _numbers(value: dict[str, Any]) -> tuple[str, str]:
    measured = value.get("value")
    text = "-" if measured is None else f"{measured:.4f}"
    low, high = value.get("low"), value.get("high")
    if low is None or high is None:
        return text, "-"
    return text, f"{low:.4f} to {high:.4f}"


def _as_data(
    runs: list[Path], measured: list[MeasuredRun], comparisons: list[Comparison]
) -> dict[str, Any]:
    """Return values and differences as JSON data."""
    values = []
    for folder, run in zip(runs, measured, strict=True):
        entries = {name: entry["values"] for name, entry in run.entries.items()}
        values.append({"run": str(folder), "evaluations": entries})
    differences = []
    for row in comparisons:
        difference = row.difference
        entry = {
            "run": str(runs[row.run]),
            "evaluation": row.evaluation,
            "value": row.value,
            "difference": difference.value,
            "low": difference.interval.low,
            "high": difference.interval.high,
            "p": difference.p,
            "real": difference.is_real,
        }
        differences.append(entry)
    return {"values": values, "differences": differences}
