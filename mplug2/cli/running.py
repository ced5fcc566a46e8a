"""`mplug2 train` and `eval`: weights, and how good they are."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import registry
from mplug2.cli.arguments import (
    Checkpoint,
    NoVerify,
    Overrides,
    SpecFile,
    init_overrides,
    only_overrides,
)
from mplug2.cli.outputs import judge_outputs, print_checkpoint
from mplug2.cli.reporting import (
    AsJson,
    ReportFolder,
    Resized,
    WorstErrors,
    check_report,
    finish_report,
)
from mplug2.cli.runs import print_spreads
from mplug2.cli.tables import log_shown

if TYPE_CHECKING:
    from mplug2.eval.evaluation import Evaluation
    from mplug2.eval.results import Results, TableResults
    from registry.evaluations import EvaluationSpec


OnlyEvaluation = Annotated[
    str | None,
    typer.Option("--only", metavar="NAME", help="Run this named evaluation alone."),
]
SplitName = Annotated[
    str | None,
    typer.Option(help="The split to measure, in place of those that the spec names."),
]
PredictionsFile = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE.jsonl",
        help="Write every prediction here, a JSON object a line; of several evaluations to "
        "FILE.NAME.jsonl.",
    ),
]
SubmissionFile = Annotated[
    Path | None,
    typer.Option(
        "--submission",
        metavar="FILE",
        help="Write what an evaluation server takes here: question ids and answers (VQA) or image ids "
        "and captions (COCO) as JSON, or a table of indices and predictions (GLUE); the predictions go "
        "to FILE.predictions.jsonl unless --out is set.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command(
        "train",
        epilog="Example: mplug2 train configs_video/VideoQA_shapes_tiny.yaml train.output_dir=runs/try\n\n"
        "Several GPUs or machines: deepspeed --num_gpus 8 --module mplug2 train SPEC",
    )(train)
    app.command(
        "eval",
        epilog="Example: mplug2 eval configs_video/VideoQA_shapes_tiny.yaml -c runs/VideoQA_shapes_tiny/best",
    )(evaluate)


def train(
    spec: SpecFile,
    overrides: Overrides = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Resume, with as many processes as before if train.zero is above 0, from the newest "
            "checkpoint in the run folder (if there is one).",
        ),
    ] = False,
    init: Annotated[
        list[str] | None,
        typer.Option(
            "--init",
            metavar="PATTERN=SOURCE",
            help="Start weights from here: '*=mplug2:model.pth'.",
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds",
            metavar="N",
            help="Train N times, with the seeds train.seed, train.seed + 1, ..., each in a folder seed_N of "
            "the run folder, and print the median and the extent of what was measured.",
        ),
    ] = None,
    no_verify: NoVerify = False,
) -> None:
    """Train a network, under torchrun or deepspeed on all processes. Ctrl-C saves; --resume continues."""
    from mplug2.runtime import distributed
    from mplug2.runtime.manifest import verification
    from mplug2.train.run import train as run
    from mplug2.train.seeds import train_seeds

    settings = [*init_overrides(init), *only_overrides(overrides)]
    with log_shown(), verification(not no_verify):
        if seeds is None:
            result = run(spec, settings, resume=resume)
        else:
            result = train_seeds(spec, settings, seeds, resume=resume)[-1]
    # The exit code of a shell for an interruption, so that a job script can resume.
    if result.interrupted:
        raise typer.Exit(130)
    if seeds is not None and distributed.rank() == 0:
        # The folder of a seed's run is inside that of the series.
        print_spreads(result.folder.parent)


def evaluate(
    spec: SpecFile,
    checkpoint: Checkpoint,
    overrides: Overrides = None,
    only: OnlyEvaluation = None,
    split: SplitName = None,
    out: PredictionsFile = None,
    results: SubmissionFile = None,
    report: ReportFolder = None,
    worst: WorstErrors = None,
    as_json: AsJson = False,
    resize: Resized = False,
    no_verify: NoVerify = False,
) -> None:
    """Measure a checkpoint on a split: metrics, and accuracy by type of question."""
    # Nothing is selected here: other metrics than those of the training may be asked for.
    settings = [*only_overrides(overrides), "train.best_metric="]
    read = registry.read_spec(spec, overrides=settings)
    registry.check(read).raise_if_bad()
    check_report(report, worst, out)
    out = _predictions_file(out, results, report)
    from mplug2.eval.run import chosen_evaluations, evaluations_of_checkpoint
    from mplug2.runtime import distributed
    from mplug2.runtime.manifest import verification

    evaluations = chosen_evaluations(read, only, split)
    outputs = _output_files(evaluations, out, results)
    judge_outputs(outputs, [Path(spec).resolve(), *_data_files(read)])
    form = _submission_form(read, evaluations) if results is not None else None
    on_rank0 = distributed.rank() == 0
    if on_rank0:
        print_checkpoint(checkpoint)
    detailed = report is not None or as_json
    measured = []
    # Standard output has the JSON object alone: tables and progress go to standard error.
    shown = contextlib.redirect_stdout(sys.stderr if as_json else sys.stdout)
    with log_shown(), verification(not no_verify), shown:
        # All ranks evaluate; the first one prints and writes.
        for evaluated in evaluations_of_checkpoint(
            read,
            checkpoint,
            only=only,
            split=split,
            predictions=out,
            num_errors=(worst or 0) if detailed else None,
            resize=resize,
        ):
            if not on_rank0:
                continue
            measured.append(evaluated)
            _print_evaluation(evaluated, wants_results=results is not None)
            if results and form and evaluated.predictions:
                written = form.write(evaluated.predictions, results)
                print(f"results: {written} {form.noun} in {results}")
    if detailed and on_rank0:
        finish_report(read, checkpoint, measured, report, worst, as_json)


def _predictions_file(
    out: Path | None, results: Path | None, report: Path | None
) -> Path | None:
    """Return the file of the predictions: a report and a submission need them even without --out."""
    if report is not None:
        return report / "predictions.jsonl"
    if out is None and results is not None:
        return results.with_name(f"{results.stem}.predictions.jsonl")
    return out


def _output_files(
    evaluations: Sequence[EvaluationSpec], out: Path | None, results: Path | None
) -> dict[str, Path | None]:
    """Return the files that the command will write, by the option that names them."""
    from mplug2.eval.run import predictions_of

    several = len(evaluations) > 1
    outputs: dict[str, Path | None] = {}
    for evaluation in evaluations:
        option = f"--out ({evaluation.name})" if several else "--out"
        outputs[option] = predictions_of(out, evaluation, several=several)
    outputs["--submission"] = results
    return outputs


def _submission_form(
    spec: registry.Spec, evaluations: Sequence[EvaluationSpec]
) -> Results | TableResults:
    """Return the form of the file for an evaluation server; UserError unless there is one evaluation."""
    from mplug2.eval.results import results_of

    if len(evaluations) > 1:
        names = ", ".join(evaluation.name for evaluation in evaluations)
        raise registry.UserError(
            f"--submission needs one evaluation (got {names}). Name it: --only NAME"
        )
    return results_of(spec, evaluations[0])


def _print_evaluation(evaluated: Evaluation, *, wants_results: bool) -> None:
    """Print the tables of an evaluation, its values, and what could not be measured."""
    from mplug2.cli.tables import print_result_table

    evaluation = evaluated.settings
    assert evaluation is not None
    if evaluation.name:
        print(f"{evaluation.name}: {evaluation.source}, {evaluation.split}")
    in_tables: set[str] = set()
    for table in evaluated.tables:
        print_result_table(table)
        in_tables.update(table.values)
    measured = evaluated.samples - evaluated.unanswered
    complete = _of_all(evaluation.metrics)
    for name, value in evaluated.metrics.items():
        if name in in_tables or not measured:
            continue
        text = "cannot be measured" if math.isnan(value) else f"{value:.4f}"
        # A value that some data lack is over a part of the samples: no number is printed for it.
        extent = ""
        if name in complete:
            extent = f" on {measured} samples of {evaluation.split}"
        print(f"{evaluation.key(name)}: {text}{extent}")
    if evaluated.unanswered and measured:
        print(f"not counted: {evaluated.unanswered} samples without answers")
    elif evaluated.unanswered:
        hint = ": --submission FILE writes what an evaluation server takes"
        if wants_results:
            hint = ""
        samples = f"{evaluated.samples} samples of {evaluation.split}"
        print(f"nothing to measure: none of the {samples} has answers{hint}")
    for file in evaluated.bad:
        print(f"cannot be decoded, counted as wrong: {file}")
    if evaluated.predictions:
        print(f"predictions: {evaluated.predictions}")


def _of_all(metrics: Iterable[str]) -> set[str]:
    """Return the values over all samples: those that some data lack are over a part of them."""
    names = set()
    for metric in metrics:
        # From the declaration: a metric need not be imported for this.
        for name, port in registry.METRICS.declaration(metric).outputs.items():
            if not port.optional:
                names.add(name)
    return names


def _data_files(spec: registry.Spec) -> list[Path]:
    """Return all files that a spec's data section names."""
    files = []
    # The short form has its files in the section itself, the long form in its sources.
    for section in (spec.data, *spec.data.values()):
        values = section.values() if isinstance(section, dict) else ()
        for value in values:
            if isinstance(value, str) and os.path.isfile(value):
                files.append(Path(value).resolve())
    return files
