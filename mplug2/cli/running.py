"""`mplug2 train` and `eval`: weights, and how good they are."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated

import typer

import registry
from mplug2.cli.arguments import Checkpoint, Overrides, SpecFile, init_overrides, only_overrides
from mplug2.cli.outputs import judge_outputs
from mplug2.cli.tables import console, log_shown


def add_to(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command(
        "train",
        epilog="Example: mplug2 train configs_video/VideoQA_shapes_tiny.yaml train.out=runs/try\n\n"
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
            "--resume", help="Go on after the newest checkpoint of the run folder, if there is one."
        ),
    ] = False,
    init: Annotated[
        list[str] | None,
        typer.Option(
            "--init", metavar="PATTERN=SOURCE", help="Start weights from here: '*=mplug2:model.pth'."
        ),
    ] = None,
) -> None:
    """Train a network, under torchrun or deepspeed on all processes. Ctrl-C saves; --resume goes on."""
    from mplug2.train.trainer import train as run

    with log_shown():
        result = run(spec, [*init_overrides(init), *only_overrides(overrides)], resume=resume)
    if result.interrupted:
        raise typer.Exit(130)


def evaluate(
    spec: SpecFile,
    checkpoint: Checkpoint,
    overrides: Overrides = None,
    split: Annotated[
        str | None, typer.Option(help="train, val or test instead of the spec's eval.split.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE.jsonl", help="Write every prediction here, a JSON object a line."
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            metavar="FILE.json",
            help="Write question ids and answers here, as VQA's evaluation server takes them, or image ids "
            "and captions, as COCO's does; the predictions go to FILE.predictions.jsonl unless --out is set.",
        ),
    ] = None,
) -> None:
    """Measure a checkpoint on a split: metrics, and accuracy by type of question."""
    # nothing is selected here: other metrics than those of the training may be asked for
    settings = only_overrides(overrides) + ([f"eval.split={split}"] if split else []) + ["train.select="]
    read = registry.read_spec(spec, overrides=settings)
    out = out or (results.with_name(f"{results.stem}.predictions.jsonl") if results else None)
    judge_outputs({"--out": out, "--results": results}, [Path(spec).resolve(), *_data_files(read)])
    from mplug2.eval.breakdown import recall_table, table
    from mplug2.eval.run import evaluate_checkpoint
    from mplug2.runtime import distributed

    form = None
    if results is not None:
        from mplug2.eval.results import results_of

        registry.check(read).raise_if_bad()
        form = results_of(read, read.eval["split"])
    with log_shown():
        found = evaluate_checkpoint(read, checkpoint, predictions=out)
    if distributed.rank() != 0:
        return
    if found.lines:
        console().print(table(found.lines, found.baseline))
    recall = recall_table(found.metrics)
    if recall is not None:
        console().print(recall)
    measured, split_name = found.samples - found.unanswered, read.eval["split"]
    whole = _of_all(read.eval["metrics"])
    for name, value in list(found.metrics.items())[: (1 if recall else None) if measured else 0]:
        said = "cannot be measured" if math.isnan(value) else f"{value:.4f}"
        print(f"{name}: {said} on {measured} samples of {split_name}" if name in whole else f"{name}: {said}")
    if found.unanswered and measured:
        print(f"not counted: {found.unanswered} samples without answers")
    elif found.unanswered:
        hint = "" if results else ": --results FILE.json writes what an evaluation server takes"
        print(f"nothing to measure: none of the {found.samples} samples of {split_name} has answers{hint}")
    for file in found.bad:
        print(f"cannot be decoded, counted as wrong: {file}")
    if found.predictions:
        print(f"predictions: {found.predictions}")
    if results and form and found.predictions:
        what = "answers" if form.images is None else "captions"
        print(f"results: {form.write(found.predictions, results)} {what} in {results}")


def _of_all(metrics: list[str]) -> set[str]:
    """The values that are over all samples: those that some data lack are over a part of them."""
    declared = [registry.METRICS.declaration(metric).outputs for metric in metrics]
    return {name for outputs in declared for name, port in outputs.items() if not port.optional}


def _data_files(spec: registry.Spec) -> list[Path]:
    """All files that a spec's data section names."""
    sections = [spec.data, *(one for one in spec.data.values() if isinstance(one, dict))]
    named = [value for one in sections for value in one.values() if isinstance(value, str)]
    return [Path(value).resolve() for value in named if os.path.isfile(value)]
