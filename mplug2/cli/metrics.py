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


Predictions = Annotated[
    Path,
    typer.Option(
        metavar="P.json",
        help="Generated captions: a JSON object by id, COCO results, or what `mplug2 eval --out` wrote.",
        show_default=False,
    ),
]
References = Annotated[
    Path,
    typer.Option(
        metavar="R.json",
        help="Human captions: a JSON object of lists by id, COCO annotations, or an annotation file.",
        show_default=False,
    ),
]
DocumentFrequencies = Annotated[
    Path | None,
    typer.Option(
        metavar="F.json",
        help="Document frequencies for CIDEr-D. Default: those of the references.",
    ),
]


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
    predictions: Predictions,
    references: References,
    frequencies: DocumentFrequencies = None,
    tokenized: Annotated[
        bool, typer.Option("--tokenized", help="The captions are tokenized already.")
    ] = False,
    no_java: Annotated[
        bool, typer.Option("--no-java", help="Skip METEOR and SPICE.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.")
    ] = False,
) -> None:
    """Print BLEU, METEOR, ROUGE-L, CIDEr, CIDEr-D and SPICE, as the COCO caption tools compute them."""
    from mplug2.metrics.caption import files
    from mplug2.metrics.caption.cider import Frequencies
    from mplug2.metrics.caption.scores import caption_scores
    from mplug2.runtime.jsonl import json_line

    generated = files.read_predictions(predictions)
    human = files.read_references(references)
    # A caption without references, or the reverse, would silently change every average.
    files.check_same_ids(generated, human, (predictions, references))
    counted = Frequencies.load(frequencies) if frequencies else None
    scores = caption_scores(
        generated, human, counted, tokenized=tokenized, with_java=not no_java
    )
    if json:
        row = scores.values | {"reasons": scores.reasons}
        print(json_line(row, sys.stdout.encoding or "utf-8"))
        return
    num_references = sum(len(captions) for captions in human.values())
    print(
        f"{predictions}: {len(generated)} captions against {num_references} references"
    )
    for name, value in scores.values.items():
        text = "-" if value is None else format(value, ".4f")
        print(f"  {name:<8} {text:>6}")
    for name, reason in scores.reasons.items():
        is_missing = scores.values[name] is None
        print(f"{name} is missing: {reason}" if is_missing else f"{name}: {reason}")
