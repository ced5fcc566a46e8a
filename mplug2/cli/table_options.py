"""Options of `mplug2 new` and `mplug2 data import`: the columns of a table, folders, and fractions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

NewName = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="The spec is written to NAME.yaml.", show_default=False
    ),
]
TaskName = Annotated[
    str,
    typer.Option(
        metavar="TASK",
        help="question_answer, caption, retrieval or media_class; text_class for texts.",
    ),
]
DataFolder = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Folder of train.jsonl, val.jsonl. Default: data/NAME."
    ),
]
MediaFolder = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Folder of the images or videos. Default: DATA/media."
    ),
]
TableFile = Annotated[
    Path,
    typer.Argument(
        metavar="TABLE", help="A .csv, .tsv or .jsonl file.", show_default=False
    ),
]
TableMedia = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The folder of the images or videos."),
]
FileColumn = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Names of the files. Default: a usual name."),
]
QuestionColumn = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="The question.")
]
AnswerColumn = Annotated[str | None, typer.Option(metavar="COLUMN", help="Its answer.")]
CaptionColumn = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="A caption of the file.")
]
LabelColumn = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="The class of the row.")
]
TextColumn = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="The text that has a class.")
]
SplitColumn = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="A column with train, val or test."),
]
TableOut = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The output folder. Default: data/TABLE."),
]
