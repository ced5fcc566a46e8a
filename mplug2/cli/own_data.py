"""`mplug2 new` and `mplug2 data import`: a spec and JSON lines for your table and your files."""

from __future__ import annotations

import contextlib
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import registry
from mplug2.cli.data import commands
from mplug2.cli.table_options import (
    AnswerColumn,
    CaptionColumn,
    DataFolder,
    FileColumn,
    LabelColumn,
    MediaFolder,
    NewName,
    QuestionColumn,
    SplitColumn,
    TableFile,
    TableMedia,
    TableOut,
    TaskName,
    TextColumn,
)

if TYPE_CHECKING:
    from mplug2.data.own_table import OwnTable, Tally

# What each set of columns is for: the task, and whether it has files.
TASKS: dict[frozenset[str], tuple[str, bool]] = {
    frozenset({"question", "answer"}): ("question_answer", True),
    frozenset({"caption"}): ("caption", True),
    frozenset({"label"}): ("media_class", True),
    frozenset({"text", "label"}): ("text_class", False),
}


def add_to(app: typer.Typer) -> None:
    """Add `new` to ``app`` and `import` to `data`."""
    app.command(
        "new", epilog="Example: mplug2 new my_qa --task question_answer --media video"
    )(new)
    commands.command(
        "import",
        epilog="Example: mplug2 data import table.csv --media clips/ --question Question --answer Answer",
    )(import_table)


def new(
    name: NewName,
    task: TaskName,
    media: Annotated[
        Literal["image", "video", "text"], typer.Option(help="What the network reads.")
    ],
    size: Annotated[
        Literal["small", "base"],
        typer.Option(
            help="small: from random weights, also on a CPU. base: from CLIP and BERT, on a GPU."
        ),
    ] = "small",
    data: DataFolder = None,
    folder: MediaFolder = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Overwrite an existing spec.")
    ] = False,
) -> None:
    """Write a spec for your own data, and print what to edit and the next commands."""
    from mplug2.cli.templates import spec_text
    from mplug2.runtime.atomic_write import atomic_write

    path = Path(f"{name.removesuffix('.yaml')}.yaml")
    if not path.stem.replace("-", "_").isidentifier():
        raise registry.UserError(
            f"NAME must be a word of letters, digits, - and _ (got '{name}')"
        )
    if path.exists() and not overwrite:
        raise registry.UserError(
            f"{path} already exists. Use --overwrite, or choose another NAME"
        )
    data = data or Path("data") / path.stem
    text = spec_text(path.with_suffix("").as_posix(), task, media, size, data, folder)
    with atomic_write(path) as file:
        file.write(text)
    print(f"{path}: {task} for {media}, {size}")
    _print_edits(task, media)
    print("next:")
    # The next command depends on whether there are data already.
    if not (data / "train.jsonl").is_file():
        print(f"  {_import_example(task, media, data)}")
    for command in ("check", "data check", "train", "eval"):
        checkpoint = f" --checkpoint runs/{path.stem}/best" if command == "eval" else ""
        print(f"  mplug2 {command} {shlex.quote(str(path))}{checkpoint}")


def _print_edits(task: str, media: str) -> None:
    """Print the settings of a new spec that depend on the user's data and machine."""
    from mplug2.cli.templates import CLASS_TASKS

    edits = {}
    if media != "text":
        edits["data.media"] = "the folder of your files"
    edits["data.train, val, test"] = (
        "the JSON lines, as `mplug2 data import` writes them"
    )
    if task in CLASS_TASKS:
        edits["data.labels"] = "the names of your classes"
    edits["train.epochs, batch_size, lr"] = "length, memory and speed of the run"
    print("look at, and edit:")
    for key, meaning in edits.items():
        print(f"  {key}: {meaning}")


def _import_example(task: str, media: str, data: Path) -> str:
    """Return the command that makes the data of a task, with names of columns to be replaced."""
    # A task that is not in the table is retrieval, which reads captions.
    columns = frozenset({"caption"})
    for fields, (field_task, _) in TASKS.items():
        if field_task == task:
            columns = fields
    words = ["mplug2 data import table.csv"]
    if media != "text":
        words.append("--media DIR")
    # In reverse: question before answer, text before label.
    for field in sorted(columns, reverse=True):
        words.append(f"--{field} COLUMN")
    return " ".join([*words, f"--out {shlex.quote(str(data))}"])


def import_table(
    table: TableFile,
    media: TableMedia = None,
    file: FileColumn = None,
    question: QuestionColumn = None,
    answer: AnswerColumn = None,
    caption: CaptionColumn = None,
    label: LabelColumn = None,
    text: TextColumn = None,
    split: SplitColumn = None,
    val: Annotated[
        float,
        typer.Option(min=0, max=0.5, help="Fraction of the files for validation."),
    ] = 0.1,
    test: Annotated[
        float, typer.Option(min=0, max=0.4, help="Fraction of the files for testing.")
    ] = 0.1,
    out: TableOut = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Overwrite existing files.")
    ] = False,
) -> None:
    """Turn a table and a folder of images or videos into the JSON lines that the specs read.

    The report has the numbers of rows that were read, repaired and refused, and where the first of each was.
    Rows of one file are in one split.
    """
    from mplug2.data.own_table import Columns, class_names, read_own_table, split_rows

    columns = {
        "text": text,
        "question": question,
        "answer": answer,
        "caption": caption,
        "label": label,
    }
    fields = {key: column for key, column in columns.items() if column is not None}
    # The task follows from the columns that are named: a table does not name it.
    task, has_files = TASKS.get(frozenset(fields), ("", False))
    if not task or has_files != (media is not None):
        raise registry.UserError(
            "name the columns of a task: --media DIR with --question and --answer, --caption, or --label; "
            "or --text and --label without --media"
        )
    folder = out or Path("data") / table.name.removesuffix(".gz").rpartition(".")[0]
    rows = read_own_table(table, Columns(fields, file, split), media)
    lines = split_rows(rows.rows, val, test)
    labels = class_names(row for _, row in rows.rows) if "label" in fields else []
    _write(folder, lines, labels, overwrite)
    _report(table, rows)
    for name, entries in lines.items():
        print(f"  wrote {folder / f'{name}.jsonl'}: {len(entries)} rows")
    if labels:
        print(f"  wrote {folder / 'labels.json'}: {len(labels)} classes")
    words = ["mplug2", "new", folder.name, "--task", task, "--media", rows.kind]
    words += ["--data", str(folder)]
    if media:
        words += ["--folder", str(media)]
    print(f"next: {shlex.join(words)}")


def _write(
    folder: Path,
    lines: dict[str, list[dict[str, Any]]],
    labels: list[str],
    overwrite: bool,
) -> None:
    """Write the JSON lines of each split, and the list of classes if there are any; all files or none."""
    from mplug2.runtime.atomic_write import atomic_write

    texts = {}
    for split, rows in lines.items():
        entries = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        texts[f"{split}.jsonl"] = "".join(entries)
    if labels:
        texts["labels.json"] = json.dumps(labels, ensure_ascii=False, indent=1) + "\n"
    present = [str(folder / name) for name in texts if (folder / name).exists()]
    if present and not overwrite:
        raise registry.UserError(
            f"{', '.join(present)} already exists. Use --overwrite, or another --out"
        )
    # All files lose their temporary names together at the end, or none does.
    with contextlib.ExitStack() as stack:
        for name, content in texts.items():
            stack.enter_context(atomic_write(folder / name)).write(content)


def _report(path: Path, table: OwnTable) -> None:
    """Print how many rows were read, repaired and refused, and why."""
    what = "texts" if table.kind == "text" else f"{table.kind}s"
    print(f"{path}: {table.rows_read} rows about {what} read, {len(table.rows)} used")
    _print_tally("repaired", table.repaired)
    _print_tally("refused", table.refused)


def _print_tally(title: str, tally: Tally) -> None:
    print(f"  {title}: {tally.total or 'none'}")
    for reason, count in tally.counts.items():
        print(f"    {count} x {reason} (first at {tally.first[reason]})")
