"""`mplug2 metrics`: score prediction files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

commands = typer.Typer(
    name="metrics",
    help="Score prediction files.",
    epilog="Example: mplug2 metrics caption --predictions P.json --references R.json",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


def add_to(app: typer.Typer) -> None:
    """Add the group to ``app``."""
    app.add_typer(commands)


@commands.callback()
def _group() -> None:
    """Hold the group together while it has one command."""


@commands.command(
    "caption",
    epilog="Example: mplug2 metrics caption --predictions P.json --references R.json --json",
)
def caption(
    predictions: Annotated[
        Path,
        typer.Option(
            metavar="P.json",
            help="Generated captions: a JSON object by id, COCO results, or what `mplug2 eval --out` wrote.",
            show_default=False,
        ),
    ],
    references: Annotated[
        Path,
        typer.Option(
            metavar="R.json",
            help="Human captions: a JSON object of lists by id, COCO annotations, or an annotation file.",
            show_default=False,
        ),
    ],
    frequencies: Annotated[
        Path | None,
        typer.Option(
            metavar="F.json",
            help="Document frequencies for CIDEr-D. Default: those of the references.",
        ),
    ] = None,
    tokenized: Annotated[
        bool, typer.Option("--tokenized", help="The captions are tokenized already.")
    ] = False,
    no_java: Annotated[
        bool, typer.Option("--no-java", help="Skip METEOR and SPICE.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print BLEU, METEOR, ROUGE-L, CIDEr, CIDEr-D and SPICE, as the COCO caption tools compute them."""
    from mplug2.metrics.caption import files
    from mplug2.metrics.caption.cider import Frequencies
    from mplug2.metrics.caption.scores import caption_scores
    from mplug2.runtime.jsonl import json_line

    said, given = files.read_predictions(predictions), files.read_references(references)
    files.check_same_ids(said, given, (predictions, references))
    known = Frequencies.load(frequencies) if frequencies else None
    scores = caption_scores(
        said, given, known, tokenized=tokenized, with_java=not no_java
    )
    if json:
        print(
            json_line(
                scores.values | {"reasons": scores.reasons},
                sys.stdout.encoding or "utf-8",
            )
        )
        return
    count = sum(map(len, given.values()))
    print(f"{predictions}: {len(said)} captions against {count} references")
    for name, value in scores.values.items():
        print(f"  {name:<8} {'-' if value is None else format(value, '.4f'):>6}")
    for name, reason in scores.reasons.items():
        print(
            f"{name} is missing: {reason}"
            if scores.values[name] is None
            else f"{name}: {reason}"
        )
