"""`mplug2 data`: make the shapes world, and try every file of a data set before training on it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

import registry
from mplug2.cli.arguments import Overrides, SpecFile, only_overrides

SPLITS = ("train", "val", "test")

commands = typer.Typer(
    help="Make and check data.",
    epilog="Example: mplug2 data make-shapes data/shapes",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


def add_to(app: typer.Typer) -> None:
    """Add the group of commands to ``app``."""
    app.add_typer(commands, name="data")


@commands.command("make-shapes", epilog="Example: mplug2 data make-shapes data/shapes --train 500")
def make_shapes(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write.", show_default=False)],
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 0,
    train: Annotated[int, typer.Option(min=0, help="Clips for training.")] = 3000,
    val: Annotated[int, typer.Option(min=0, help="Clips for validation.")] = 300,
    test: Annotated[int, typer.Option(min=0, help="Clips for testing.")] = 300,
    size: Annotated[int, typer.Option(help="Edge of a frame in pixels.")] = 48,
    frames: Annotated[int, typer.Option(help="Frames of a clip.")] = 12,
) -> None:
    """Generate the shapes world: clips of moving shapes, with questions, captions, boxes and classes."""
    from mplug2.data.shapes.write import make_shapes as write

    sizes = {"train": train, "val": val, "test": test, "size": size, "frames": frames}
    written = write(folder, seed=seed, **sizes, progress=sys.stderr.isatty())
    print(f"{folder}: {train} + {val} + {test} clips {'written' if written else 'are there already'}")


@commands.command(
    "check", epilog="Example: mplug2 data check configs_video/VideoQA_shapes_tiny.yaml --split train"
)
def check(
    spec: SpecFile,
    overrides: Overrides = None,
    split: Annotated[
        Literal["train", "val", "test"] | None,
        typer.Option(help="One split; all that the spec has unless set."),
    ] = None,
    quarantine: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where the list goes; beside the annotations of its split unless set."
        ),
    ] = None,
) -> None:
    """Decode every file of a data set, and write a list of those that training should leave out."""
    from mplug2.data.checking import check_media

    read = registry.read_spec(spec, overrides=only_overrides(overrides))
    report = registry.check(read)
    report.raise_if_bad()
    splits = [split] if split else [name for name in SPLITS if read.data.get(name)]
    if quarantine and len(splits) != 1:
        raise registry.UserError("--quarantine names one list, so --split must name one split")
    broken = 0
    for name in splits:
        list_file = quarantine or _beside_annotations(read, name)
        checked = check_media(read, report.types, name, quarantine=list_file, progress=sys.stderr.isatty())
        broken += len(checked.bad)
        for finding in checked.findings:
            print(f"{'unusable' if not finding.usable else 'damaged'}: {finding.reason}")
        print(f"{name}: {checked.files} files, {len(checked.bad)} unusable; list: {list_file}")
        if checked.bad:
            print(f"  to leave them out: data.{name}.quarantine={list_file}")
    if broken:
        raise typer.Exit(2)


def _beside_annotations(spec: registry.Spec, split: str) -> Path:
    """Where the list of a split goes: qa_train.jsonl has its own in qa_train.quarantine.jsonl."""
    given = (spec.data.get(split) or {}).get("path") or spec.data.get("path")
    if not isinstance(given, str):
        raise registry.UserError(f"{spec.place('data', split)}: data.{split}.path must name the annotations")
    return Path(given).with_suffix(".quarantine.jsonl")
