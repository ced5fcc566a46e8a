"""`mplug2 predict`: run a trained network on files."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import registry
from mplug2.cli.arguments import NoVerify, Overrides, SpecFile, only_overrides
from mplug2.cli.media_options import (
    CheckpointPath,
    DrawFile,
    FileLists,
    Images,
    OutFile,
    Questions,
    SheetFile,
    Videos,
)
from mplug2.cli.outputs import judge_outputs, print_checkpoint
from mplug2.cli.print_answers import Summary, opened_output, progress_bar, write_results
from registry.errors import UserError

if TYPE_CHECKING:
    from mplug2.predict.pipeline import Pipeline
    from mplug2.predict.sheet import Sheet


def add_to(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(
        "predict",
        epilog="Example: mplug2 predict configs_video/VideoQA_shapes_tiny.yaml --video clip.mp4 "
        "--question 'which way does the red square move?'\n\n"
        "A folder: mplug2 predict configs_video/VideoCaption_shapes_tiny.yaml --video clips/ "
        "--out captions.jsonl --sheet captions.html",
    )(predict)


@dataclass(frozen=True)
class _Request:
    """What the command was asked for: its files and texts, and where answers go."""

    spec: str
    videos: Sequence[Path]
    images: Sequence[Path]
    listed: Sequence[Path]
    questions: Sequence[str]
    as_json: bool
    out: Path | None
    sheet: Path | None
    draw: Path | None

    @property
    def named(self) -> list[Path]:
        """The files and folders that are named in the command itself."""
        return [*self.videos, *self.images]

    def check(self) -> None:
        """Raise UserError for a request without files or texts, or with outputs that cannot be written."""
        if (self.videos and self.images) or not (
            self.named or self.listed or self.questions
        ):
            raise UserError(
                "name the files: --video or --image (not both), or --files-from; or a --text alone"
            )
        _check_outputs(
            {"--sheet": self.sheet, "--draw": self.draw, "--out": self.out},
            [Path(self.spec), *self.named, *self.listed],
        )


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
    request = _Request(
        spec,
        video or (),
        image or (),
        listed or (),
        question or (),
        as_json,
        out,
        sheet,
        draw,
    )
    request.check()
    settings = only_overrides(overrides)
    pipe = _open_pipeline(spec, checkpoint, settings, top, verify=not no_verify)
    summary, single = _answer(request, pipe)
    summary.print_notes()
    summary.print_damaged()
    # Printed last, so that a mistake is a single line.
    if checkpoint is None and pipe.checkpoint is not None:
        print_checkpoint(pipe.checkpoint)
    if not single:
        summary.print()


def _answer(request: _Request, pipe: Pipeline) -> tuple[Summary, bool]:
    """Run the network and write each answer; return the summary, and whether there was a single entry."""
    # Imported after the checks, which need no network.
    from mplug2.predict import draw as drawing
    from mplug2.predict.sheet import PICTURES

    entries, num_entries = _files_or_texts(request, pipe)
    # A folder or a list with one file in it is still a series.
    any_folder = any(map(os.path.isdir, request.named))
    single = num_entries == 1 and not request.listed and not any_folder
    if request.draw is not None and (pipe.says != "boxes" or not single):
        raise UserError(
            "--draw needs one image, and a network that finds boxes; --sheet shows many files"
        )
    num_pictures = PICTURES if request.sheet is not None else 0
    stream = pipe.stream(entries, request.questions, pictures=num_pictures)
    in_words = single and request.out is None and not request.as_json
    # Lines on a terminal show the progress themselves.
    hidden = single or (request.out is None and sys.stdout.isatty())
    summary = Summary(num_entries)
    with contextlib.ExitStack() as stack:
        page = None
        if request.sheet is not None:
            page = stack.enter_context(_page(request.sheet, pipe))
        written = stack.enter_context(opened_output(request.out))
        step = stack.enter_context(progress_bar(num_entries, hidden))
        for results in stream:
            summary.add(results, single)
            if page is not None:
                page.add(results)
            write_results(results, written, in_words)
            step(summary.num_broken)
        if request.draw is not None:
            drawing.draw(results, request.draw)
    return summary, single


def _open_pipeline(
    spec: str, checkpoint: Path | None, overrides: list[str], top: int, *, verify: bool
) -> Pipeline:
    """Return the network with its weights; an untrained spec is reported before torch is imported."""
    if checkpoint is None:
        # Importing torch takes seconds; this message needs none of it.
        from mplug2.runtime.run_folder import trained_checkpoint

        trained_checkpoint(registry.read_spec(spec, overrides))
    from mplug2.predict.pipeline import pipeline
    from mplug2.runtime.manifest import verification

    with verification(verify):
        return pipeline(spec, checkpoint, overrides, top=top)


def _files_or_texts(request: _Request, pipe: Pipeline) -> tuple[list[Any], int]:
    """Return the files to run on, none for a network that reads text alone, and the number of results."""
    if pipe.kind == "text":
        if request.named or request.listed or not request.questions:
            raise UserError(
                f"{request.spec} reads text alone: give it by --text TEXT, and no files"
            )
        return [], len(request.questions)
    entries = _entries(request, pipe)
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
    # Real paths: an output must not overwrite an input that a link names.
    read_files = {Path(os.path.realpath(file)) for file in inputs}
    judge_outputs(outputs, read_files, "pipes too")


def _entries(request: _Request, pipe: Pipeline) -> list[tuple[str, ...]]:
    """Return the files to run the network on, or pairs of them; UserError if it reads another kind."""
    from mplug2.predict.files import entries

    assert pipe.kind != "text"
    are_videos = bool(request.videos)
    if request.named and (pipe.kind == "video") != are_videos:
        raise UserError(
            f"{request.spec} reads {pipe.kind}s: name them by --{pipe.kind}"
        )
    return entries(request.named, request.listed, pipe.kind, pipe.views, _print_skipped)


def _print_skipped(line: str) -> None:
    from mplug2.predict.result import printable

    print(printable(line), file=sys.stderr)


def _page(path: Path, pipe: Pipeline) -> contextlib.AbstractContextManager[Sheet]:
    from mplug2.predict.sheet import Sheet

    return Sheet(path, f"{pipe.net.spec.name}: {pipe.checkpoint}")


def _check_out(out: Path) -> None:
    """Raise UserError for a path that cannot be a file."""
    if os.path.isdir(out) or not os.path.isdir(out.parent):
        raise UserError(f"--out {out} must be a file in a folder that exists")
