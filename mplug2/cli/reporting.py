"""What `mplug2 eval --report`, `--worst` and `--json` add to an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from registry import Spec, UserError

if TYPE_CHECKING:
    from mplug2.eval.evaluation import Evaluation

ReportFolder = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="DIR",
        help="Write report.json (values, 95 % intervals, counts, classes), the predictions, and an image "
        "of confused classes into this folder.",
    ),
]
WorstErrors = Annotated[
    int | None,
    typer.Option(
        "--worst",
        metavar="N",
        help="Write the N wrong predictions with the highest scores, with their images, to worst.html "
        "in the folder of --report.",
    ),
]
Resized = Annotated[
    bool,
    typer.Option(
        "--resize",
        help="Let the network have another image size than the checkpoint: positions are resized.",
    ),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json", help="Print the report as one JSON object, in place of the tables."
    ),
]


def check_report(folder: Path | None, worst: int | None, out: Path | None) -> None:
    """Raise UserError if the options do not go together, or the folder cannot hold a report."""
    if worst is not None and folder is None:
        raise UserError("--worst needs the folder of a report. Add --report DIR")
    if worst is not None and worst < 1:
        raise UserError(f"--worst must be at least 1 (got {worst})")
    if folder is None:
        return
    if out is not None:
        raise UserError(
            f"--report writes the predictions into its folder (got --out {out}, too). Leave --out out"
        )
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--report must be a folder (got the file {folder})")


def finish_report(
    spec: Spec,
    checkpoint: Path,
    evaluations: Sequence[Evaluation],
    folder: Path | None,
    worst: int | None,
    as_json: bool,
) -> None:
    """Write and print the report of evaluations that were made with details."""
    from mplug2.eval.report import report_of, write_report
    from mplug2.runtime.jsonl import json_line

    report = report_of(str(spec.path), checkpoint, evaluations)
    files = []
    if folder is not None:
        files = write_report(folder, report, evaluations)
        if worst is not None:
            files += _write_worst(spec, evaluations, folder)
    if as_json:
        print(json_line(report))
        return
    for evaluation in evaluations:
        print_details(evaluation)
    for file in files:
        print(f"report: {file}")


def print_details(evaluation: Evaluation) -> None:
    """Print the intervals of values, and the table of classes."""
    from mplug2.cli.tables import print_result_table
    from mplug2.eval.confusion import class_table

    settings, details = evaluation.settings, evaluation.details
    assert settings is not None
    assert details is not None
    for name, interval in details.intervals.items():
        extent = f"95 % interval {interval.low:.4f} to {interval.high:.4f}"
        print(f"{settings.key(name)}: {extent} (bootstrap, {details.rounds} rounds)")
    if details.confusion is not None:
        print_result_table(class_table(details.confusion))


def _write_worst(
    spec: Spec, evaluations: Sequence[Evaluation], folder: Path
) -> list[Path]:
    """Write the sheets of the worst errors; return their files."""
    import registry
    from mplug2.data.build import build_source
    from mplug2.eval.report import file_of
    from mplug2.predict.errors_sheet import write_errors

    types = registry.check(spec).types
    files = []
    for evaluation in evaluations:
        settings, details = evaluation.settings, evaluation.details
        assert settings is not None
        assert details is not None
        if not details.errors:
            name = settings.label
            print(
                f"{name}: no wrong prediction has a score, so there is no sheet of them"
            )
            continue
        source = build_source(spec, types, settings.source, settings.split)
        path = file_of(folder, "worst.html", settings.name)
        heading = f"{spec.name}: the {len(details.errors)} most confident errors on {settings.split}"
        write_errors(path, heading, details.errors, source)
        files.append(path)
    return files
