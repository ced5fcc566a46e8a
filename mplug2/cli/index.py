"""`mplug2 index`: a folder of images or videos, embedded once and searched by text."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mplug2.cli.arguments import Overrides, SpecFile, only_overrides, path
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
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            "-c",
            metavar="PATH",
            help="A checkpoint. Default: the best one of the run folder.",
        ),
    ] = None,
) -> None:
    """Embed a folder; called again, only what is new or has changed. Ctrl-C keeps what is done."""
    from mplug2.index import build as run
    from mplug2.predict.result import printable
    from mplug2.runtime.progress import ProgressReporter

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
    image: Annotated[
        Path | None,
        typer.Option(
            "--image",
            "-i",
            parser=path,
            metavar="FILE",
            help="Look for what is like this image.",
        ),
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(
            "--video",
            "-v",
            parser=path,
            metavar="FILE",
            help="Look for what is like this video.",
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many files to show.")] = 10,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            "-c",
            metavar="PATH",
            help="The index's weights, if they were moved.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object for each file.")
    ] = False,
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet",
            metavar="FILE.html|FILE.png",
            help="Write a page with images of the files.",
        ),
    ] = None,
) -> None:
    """Find the files that are most similar to a text, an image or a video; the score is the cosine."""
    if sum(one is not None for one in (text, image, video)) != 1:
        raise UserError(
            "search must have one query: a text, --image FILE or --video FILE"
        )
    from mplug2.index import open_index
    from mplug2.predict.result import printable
    from mplug2.predict.sheet import check_path
    from mplug2.runtime.jsonl import json_line

    if sheet is not None:
        check_path(sheet)
        judge_outputs(
            {"--sheet": sheet},
            [Path(os.path.realpath(one)) for one in (image, video) if one],
        )
    opened = open_index(index, checkpoint)
    query = image or video
    wanted = "image" if image else "video"
    if query is not None and wanted != opened.kind:
        raise UserError(
            f"the index {index} holds {opened.kind}s: look by a text or by --{opened.kind} FILE"
        )
    found = opened.text(text, top) if text is not None else opened.file(query or "", top)
    for one in found:
        print(
            json_line(one.row(), sys.stdout.encoding or "utf-8")
            if as_json
            else f"{one.score:.4f}  {printable(str(one.path))}"
        )
    if sheet is not None:
        _draw(opened, sheet, text if text is not None else f"like {query}", found)


def _draw(index: Index, path: Path, heading: str, found: Sequence[SearchHit]) -> None:
    """Put what was found on a contact sheet, the best first."""
    from mplug2.data.media.folder import UNREADABLE
    from mplug2.predict.result import Prediction, Result
    from mplug2.predict.sheet import PICTURES, Sheet

    with Sheet(path, heading) as paper:
        for place, one in enumerate(found, 1):
            guesses = (Prediction(f"{place}", one.score),)
            try:
                looks = (index.look(one, PICTURES),)
                paper.add([Result((one.name,), index.kind, guesses, looks=looks)])
            except UNREADABLE as error:
                paper.add([Result((one.name,), index.kind, (), error=str(error))])
