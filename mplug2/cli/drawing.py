"""`mplug2 draw`: draw the network of a spec."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import registry
from mplug2.cli.arguments import Overrides, SpecFile, only_overrides


def add_to(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(
        "draw",
        epilog="Example: mplug2 draw configs_video/VideoQA_msrvtt_large.yaml -o net.svg",
    )(draw)


def draw(
    spec: SpecFile,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="A .svg, .png or .mmd (Mermaid) file. Default: SPEC.svg.",
        ),
    ] = None,
) -> None:
    """Draw a network: shared modules in one colour, momentum dashed, frozen hatched, shapes on the edges."""
    from mplug2.build.drawing.draw import draw as write

    read = registry.read_spec(spec, overrides=only_overrides(overrides))
    file = out or Path(read.name + ".svg")
    write(read, file)
    print(f"{file}: {len(read.flow)} equations, {len(read.modules)} modules")
