"""`mplug2 index`: a folder of images or videos, embedded once and searched by text."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mplug2.cli.arguments import Overrides, SpecFile, only_overrides, path
from mplug2.cli.media_options import (
    CheckpointPath,
    MovedCheckpoint,
    QueryImage,
    QueryVideo,
    SearchSheet,
)
from mplug2.cli.outputs import judge_outputs
from registry.errors import UserError

if TYPE_CHECKING:
    from mplug2.index import Index, SearchHit

_SHOWN = 20  # broken files that are listed

commands = typer.Typer(
    name="index",
    help="Search a folder of images or videos by text.",
    epilog="Example: mplug2 index build SPEC.yaml -c runs/SPEC/best --media photos -o photos.index",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


def add_to(app: typer.Typer) -> None:
    """Add the group to ``app``."""
    app.add_typer(commands)


@commands.command(
    "build",
    epilog="Example: mplug2 index build SPEC.yaml -c runs/SPEC/best --media photos -o photos.index",
)
def build(
    spec: SpecFile,
    media: Annotated[
        Path,
        typer.Option(
            "--media", parser=path, metavar="DIR", help="A folder of images or videos."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", parser=path, metavar="INDEX", help="The folder of the index."
        ),
    ],
    overrides: Overrides = None,
    checkpoint: CheckpointPath = None,
) -> None:
    """Embed a folder; called again, only what is new or has changed. Ctrl-C keeps what is done."""
    from mplug2.index import build as run
    from mplug2.predict.result import printable
    from mplug2.runtime.progress import ProgressReporter

    # The bar opens with the first file: what `run` refuses before that is printed without one.
    bar: list[ProgressReporter] = []

    def on_progress(done: int, total: int) -> None:
        if not bar:
            bar.append(ProgressReporter(total, unit="file").__enter__())
        bar[0].step(done, "embedded", line=done == total)

    try:
        summary = run(
            spec,
            checkpoint,
            media,
            out,
            only_overrides(overrides),
            on_progress=on_progress,
        )
    finally:
        for reporter in bar:
            reporter.__exit__(None, None, None)
    # A changed file counts twice: its old form is gone, its new form is new.
    gone = f", {summary.gone} left out that changed or are gone" if summary.gone else ""
    print(f"{out}: {summary.files} files, {summary.embedded} of them new{gone}")
    for line in summary.skipped:
        print(printable(line))
    for name, reason in list(summary.broken.items())[:_SHOWN]:
        print(f"cannot be read: {printable(name)}: {printable(reason)}")
    if len(summary.broken) > _SHOWN:
        print(f"and {len(summary.broken) - _SHOWN} more that cannot be read")
    print(f"next: mplug2 index search {out} 'what you look for'")


@commands.command(
    "search",
    epilog="Example: mplug2 index search photos.index 'a red square' --sheet found.html",
)
def search(
    index: Annotated[
        Path,
        typer.Argument(
            metavar="INDEX", help="The folder of the index.", show_default=False
        ),
    ],
    text: Annotated[
        str | None,
        typer.Argument(metavar="TEXT", help="What to look for.", show_default=False),
    ] = None,
    image: QueryImage = None,
    video: QueryVideo = None,
    top: Annotated[int, typer.Option(min=1, help="How many files to show.")] = 10,
    checkpoint: MovedCheckpoint = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object for each file.")
    ] = False,
    sheet: SearchSheet = None,
) -> None:
    """Find the files that are most similar to a text, an image or a video; the score is the cosine."""
    num_queries = sum(query is not None for query in (text, image, video))
    if num_queries != 1:
        raise UserError(
            "search must have one query: a text, --image FILE or --video FILE"
        )
    query = image or video
    # Imported after the first check, which needs no torch.
    from mplug2.index import open_index
    from mplug2.predict.sheet import check_path

    if sheet is not None:
        check_path(sheet)
        inputs = [] if query is None else [Path(os.path.realpath(query))]
        judge_outputs({"--sheet": sheet}, inputs)
    opened = open_index(index, checkpoint)
    # A query is read like the indexed files, by the same input of the network.
    query_kind = "image" if image else "video"
    if query is not None and query_kind != opened.kind:
        raise UserError(
            f"the index {index} holds {opened.kind}s: look by a text or by --{opened.kind} FILE"
        )
    hits = opened.text(text, top) if text is not None else opened.file(query or "", top)
    _print_hits(hits, as_json=as_json)
    if sheet is not None:
        heading = text if text is not None else f"like {query}"
        _draw(opened, sheet, heading, hits)


def _print_hits(hits: Sequence[SearchHit], *, as_json: bool) -> None:
    """Print the score and path of each file that was found, the best first."""
    from mplug2.predict.result import printable
    from mplug2.runtime.jsonl import json_line

    for hit in hits:
        if as_json:
            print(json_line(hit.row(), sys.stdout.encoding or "utf-8"))
        else:
            print(f"{hit.score:.4f}  {printable(str(hit.path))}")


def _draw(index: Index, path: Path, heading: str, hits: Sequence[SearchHit]) -> None:
    """Put the files that were found on a contact sheet, the best first."""
    from mplug2.data.media.folder import UNREADABLE
    from mplug2.predict.result import Prediction, Result
    from mplug2.predict.sheet import PICTURES, Sheet

    with Sheet(path, heading) as paper:
        for rank, hit in enumerate(hits, 1):
            guesses = (Prediction(f"{rank}", hit.score),)
            # A file may have changed or gone since it was embedded: it has a cell without an image.
            try:
                looks = (index.look(hit, PICTURES),)
                paper.add([Result((hit.name,), index.kind, guesses, looks=looks)])
            except UNREADABLE as error:
                paper.add([Result((hit.name,), index.kind, (), error=str(error))])
