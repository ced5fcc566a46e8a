"""Options of commands that read media files: which files, which weights, and where results go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mplug2.cli.arguments import path

CheckpointPath = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        "-c",
        metavar="PATH",
        help="A checkpoint. Default: the best one of the run folder.",
    ),
]
Videos = Annotated[
    list[Path] | None,
    typer.Option(
        "--video",
        "-v",
        metavar="PATH",
        parser=path,
        help="A video file or a folder; repeatable.",
    ),
]
Images = Annotated[
    list[Path] | None,
    typer.Option(
        "--image",
        "-i",
        metavar="PATH",
        parser=path,
        help="The same for images; the two of a pair alternate.",
    ),
]
FileLists = Annotated[
    list[Path] | None,
    typer.Option(
        "--files-from",
        parser=path,
        metavar="FILE",
        help="A text file with one path per line.",
    ),
]
Questions = Annotated[
    list[str] | None,
    typer.Option(
        "--question",
        "-q",
        "--text",
        help="The question, sentence or phrase; repeatable.",
    ),
]
OutFile = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE.jsonl", help="Write the JSON lines here."),
]
SheetFile = Annotated[
    Path | None,
    typer.Option(
        "--sheet",
        metavar="FILE.html|FILE.png",
        help="Write a page with images and answers.",
    ),
]
DrawFile = Annotated[
    Path | None,
    typer.Option(
        "--draw", metavar="FILE.png", help="Draw the predicted boxes on an image."
    ),
]
QueryImage = Annotated[
    Path | None,
    typer.Option(
        "--image",
        "-i",
        parser=path,
        metavar="FILE",
        help="Look for what is like this image.",
    ),
]
QueryVideo = Annotated[
    Path | None,
    typer.Option(
        "--video",
        "-v",
        parser=path,
        metavar="FILE",
        help="Look for what is like this video.",
    ),
]
MovedCheckpoint = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        "-c",
        metavar="PATH",
        help="The index's weights, if they were moved.",
    ),
]
SearchSheet = Annotated[
    Path | None,
    typer.Option(
        "--sheet",
        metavar="FILE.html|FILE.png",
        help="Write a page with images of the files.",
    ),
]
