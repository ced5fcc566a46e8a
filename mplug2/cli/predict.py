"""`mplug2 predict`: run a trained network on files."""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

import registry
from mplug2.cli.arguments import NoVerify, Overrides, SpecFile, only_overrides, path
from mplug2.cli.outputs import judge_outputs, print_checkpoint
from registry.errors import UserError

if TYPE_CHECKING:
    from mplug2.predict.pipeline import Pipeline
    from mplug2.predict.result import Result
    from mplug2.predict.sheet import Sheet

_SHOWN = 20  # files that a message lists


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
        "--question", "-q", "--text", help="The question, sentence or phrase; repeatable."
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


def add_to(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(
        "predict",
        epilog="Example: mplug2 predict configs_video/VideoQA_shapes_tiny.yaml --video clip.mp4 "
        "--question 'which way does the red square move?'\n\n"
        "A folder: mplug2 predict configs_video/VideoCaption_shapes_tiny.yaml --video clips/ "
        "--out captions.jsonl --sheet captions.html",
    )(predict)


def predict(
    spec: SpecFile,
    overrides: Overrides = None,
    video: Videos = None,
    image: Images = None,
    listed: FileLists = None,
    question: Questions = None,
    checkpoint: CheckpointPath = None,
    top: Annotated[int, typer.Option(min=1, help="The largest number of answers.")] = 5,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for a single file, too.")
    ] = False,
    out: OutFile = None,
    sheet: SheetFile = None,
    draw: DrawFile = None,
    no_verify: NoVerify = False,
) -> None:
    """Run a trained network on videos, images or texts: answer, caption, classify, or locate a phrase.

    For one file or text, the command prints text. For several, a folder or a list, it prints JSON lines, each
    as soon as the answer exists. Files that cannot be read are listed at the end, and the exit code is 1.
    """
    named = [*(video or ()), *(image or ())]
    if (video and image) or not (named or listed or question):
        raise UserError(
            "name the files: --video or --image (not both), or --files-from; or a --text alone"
        )
    _check_outputs(
        {"--sheet": sheet, "--draw": draw, "--out": out},
        [Path(spec), *named, *(listed or ())],
    )
    pipe = _open_pipeline(
        spec, checkpoint, only_overrides(overrides), top, verify=not no_verify
    )
    # Imported after the checks, which need no network.
    from mplug2.predict import draw as drawing
    from mplug2.predict.sheet import PICTURES

    entries, num_entries = _files_or_texts(
        spec, pipe, named, listed or (), question or (), bool(video)
    )
    single = num_entries == 1 and not listed and not any(map(os.path.isdir, named))
    if draw is not None and (pipe.says != "boxes" or not single):
        raise UserError(
            "--draw needs one image, and a network that finds boxes; --sheet shows many files"
        )
    stream = pipe.stream(
        entries, question or (), pictures=PICTURES if sheet is not None else 0
    )
    summary = _Summary(num_entries)
    with contextlib.ExitStack() as stack:
        page = stack.enter_context(_page(sheet, pipe)) if sheet is not None else None
        written = stack.enter_context(_opened(out))
        step = stack.enter_context(
            _bar(num_entries, single or (out is None and sys.stdout.isatty()))
        )
        for results in stream:
            summary.add(results, single)
            if page is not None:
                page.add(results)
            _write(results, written, in_words=single and out is None and not as_json)
            step(summary.num_broken)
        if draw is not None:
            drawing.draw(results, draw)
    summary.print_notes()
    summary.print_damaged()
    if checkpoint is None:  # Printed last, so that a mistake is a single line.
        print_checkpoint(pipe.checkpoint)
    if not single:
        summary.print()


def _open_pipeline(
    spec: str, checkpoint: Path | None, overrides: list[str], top: int, *, verify: bool
) -> Pipeline:
    """Return the network with its weights; an untrained spec is reported before torch is imported."""
    if checkpoint is None:
        from mplug2.runtime.run_folder import trained_checkpoint

        trained_checkpoint(registry.read_spec(spec, overrides))
    from mplug2.predict.pipeline import pipeline
    from mplug2.runtime.manifest import verification

    with verification(verify):
        return pipeline(spec, checkpoint, overrides, top=top)


def _files_or_texts(
    spec: str,
    pipe: Pipeline,
    named: Sequence[Path],
    listed: Sequence[Path],
    texts: Sequence[str],
    are_videos: bool,
) -> tuple[list[Any], int]:
    """Return the files to run on, none for a network that reads text alone, and the number of results."""
    if pipe.kind == "text":
        if named or listed or not texts:
            raise UserError(
                f"{spec} reads text alone: give it by --text TEXT, and no files"
            )
        return [], len(texts)
    entries = _entries(spec, pipe, named, listed, are_videos=are_videos)
    return entries, len(entries)


def _check_outputs(outputs: dict[str, Path | None], inputs: Sequence[Path]) -> None:
    """Raise UserError for an output that cannot be written or is an input, before a network is loaded."""
    from mplug2.predict import draw as drawing
    from mplug2.predict import sheet as sheets

    checks = {
        "--sheet": sheets.check_path,
        "--draw": drawing.check_path,
        "--out": _check_out,
    }
    for option, file in outputs.items():
        if file is not None:
            checks[option](file)
    read_files = {Path(os.path.realpath(file)) for file in inputs}
    judge_outputs(outputs, read_files, "pipes too")


def _entries(
    spec: str,
    pipe: Pipeline,
    named: Sequence[Path],
    listed: Sequence[Path],
    *,
    are_videos: bool,
) -> list[tuple[str, ...]]:
    """Return the files to run the network on, or pairs of them; UserError if it reads another kind."""
    from mplug2.predict.files import entries

    assert pipe.kind != "text"
    if named and (pipe.kind == "video") != are_videos:
        raise UserError(f"{spec} reads {pipe.kind}s: name them by --{pipe.kind}")
    return entries(named, listed, pipe.kind, pipe.views, _print_skipped)


def _print_skipped(line: str) -> None:
    from mplug2.predict.result import printable

    print(printable(line), file=sys.stderr)


def _page(path: Path, pipe: Pipeline) -> contextlib.AbstractContextManager[Sheet]:
    from mplug2.predict.sheet import Sheet

    return Sheet(path, f"{pipe.net.spec.name}: {pipe.checkpoint}")


class _Summary:
    """What could not be read or scored among the entries of a command."""

    def __init__(self, num_entries: int) -> None:
        self.num_entries = num_entries
        self.num_broken = self.num_damaged = 0
        self.reasons: list[str] = []
        self.notes: Counter[str] = Counter()

    def add(self, results: list[Result], single: bool) -> None:
        """Count the results of one entry; UserError if the only entry cannot be read."""
        from mplug2.predict.result import printable

        error = results[0].error
        if error is not None:
            self.num_broken += 1
            if single:
                raise UserError(printable(error))
            if self.num_broken <= _SHOWN:
                self.reasons.append(error)
        for result in results:
            self.notes.update(result.notes)
        self.num_damaged += not all(result.numbers for result in results)

    def print_notes(self) -> None:
        """Print what the network did not know or see, each note once with the number of its answers."""
        from mplug2.predict.result import printable

        for note, number in self.notes.most_common(_SHOWN):
            answers = f" ({number} answers)" if number > 1 else ""
            print(f"note: {printable(note)}{answers}", file=sys.stderr)

    def print_damaged(self) -> None:
        """Print how many scores are not numbers."""
        if self.num_damaged:
            message = (
                f"{self.num_damaged} of {self.num_entries} answers have NaN or infinite scores; "
                "the checkpoint may be damaged"
            )
            print(message, file=sys.stderr)

    def print(self) -> None:
        """Print a summary on standard error; exit code 1 if files could not be read."""
        from mplug2.predict.result import printable

        print(
            f"{self.num_entries - self.num_broken} of {self.num_entries} answered",
            file=sys.stderr,
        )
        if not self.num_broken:
            return
        print(f"{self.num_broken} could not be read:", file=sys.stderr)
        for reason in self.reasons:
            print(f"  {printable(reason)}", file=sys.stderr)
        if self.num_broken > len(self.reasons):
            print(f"  and {self.num_broken - len(self.reasons)} more", file=sys.stderr)
        raise typer.Exit(1)


def _write(results: list[Result], file: TextIO, in_words: bool) -> None:
    from mplug2.predict.result import line, printable

    for result in results:
        if not in_words:
            print(line(result, file.encoding or "utf-8"), file=file, flush=True)
            continue
        parts = [result.name] if result.media else []
        if result.question is not None:
            parts.append(printable(result.question))
        print(f"{': '.join(parts)}\n  {printable(str(result))}", file=file)
        if result.alternatives:
            print(
                f"  next best: {printable(', '.join(map(str, result.alternatives)))}",
                file=file,
            )


def _check_out(out: Path) -> None:
    """Raise UserError for a path that cannot be a file."""
    if os.path.isdir(out) or not os.path.isdir(out.parent):
        raise UserError(f"--out {out} must be a file in a folder that exists")


@contextlib.contextmanager
def _opened(out: Path | None) -> Iterator[TextIO]:
    """The file that results go to: standard output unless one is named."""
    if out is None:
        yield sys.stdout
        return
    try:
        with out.open("w", encoding="utf-8") as file:
            yield file
    except OSError as error:  # Of this file only: readers report errors of other files.
        raise UserError(f"--out {out} cannot be written ({error.strerror})") from None


@contextlib.contextmanager
def _bar(total: int, hidden: bool) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error if that is a terminal; `step` takes the number of unreadable
    files."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=hidden or not console.is_terminal,
        redirect_stdout=False,  # results go their own way
    )
    with bar:
        task = bar.add_task("", total=total)

        def step(broken: int) -> None:
            bar.update(task, advance=1, description=f"{broken} broken" if broken else "")

        yield step
