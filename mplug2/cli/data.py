"""`mplug2 data`: make the shapes world, and try every file of a data set before training on it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import registry
from mplug2.cli.arguments import Overrides, SpecFile, only_overrides

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
    split: Annotated[str, typer.Option(help="train, val, test, or all of them.")] = "all",
) -> None:
    """Decode every file of a data set, and write a list of those that training should leave out."""
    from mplug2.data.checking import check_files

    print(check_files(registry.read_spec(spec, overrides=only_overrides(overrides)), split))
