"""`mplug2 convert`: a released checkpoint to safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(
        "convert",
        epilog="Example: mplug2 convert in.pth out.safetensors --spec configs_video/VideoQA_tgif_large.yaml",
    )(convert)


def convert(
    source: Annotated[
        Path, typer.Argument(metavar="FILE.pth", help="The released checkpoint.", show_default=False)
    ],
    target: Annotated[
        Path, typer.Argument(metavar="OUT.safetensors", help="The file to write.", show_default=False)
    ],
    spec: Annotated[
        str,
        typer.Option("--spec", metavar="SPEC", help="The network the weights are for.", show_default=False),
    ],
    released: Annotated[
        str, typer.Option("--from", metavar="FAMILY", help="Who wrote the checkpoint: mplug2 or mplug.")
    ] = "mplug2",
) -> None:
    """Convert a released checkpoint; report each key: loaded, missing, resized or dropped, and why."""
    from mplug2.build.convert import convert_file

    print(convert_file(source, spec, target, released))
