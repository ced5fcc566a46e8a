"""`mplug2 convert`: released checkpoints to our weights, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from registry import UserError

DEFAULT_FAMILY = "mplug2"

SourceFile = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE",
        help="The released checkpoint; with --to a .safetensors file, checkpoint or run folder.",
        show_default=False,
    ),
]
TargetFile = Annotated[
    Path,
    typer.Argument(
        metavar="OUT",
        help="The file to write: .safetensors; with --to also .pth.",
        show_default=False,
    ),
]
NetworkSpec = Annotated[
    str,
    typer.Option(
        "--spec",
        metavar="SPEC",
        help="The network the weights are for.",
        show_default=False,
    ),
]
ReadFamily = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="FAMILY",
        help=f"The family of the released checkpoint (default: {DEFAULT_FAMILY}).",
    ),
]
WriteFamily = Annotated[
    str | None,
    typer.Option(
        "--to", metavar="FAMILY", help="Write the released form of this family."
    ),
]
OriginalFile = Annotated[
    Path | None,
    typer.Option(
        "--like",
        metavar="ORIGINAL",
        help="With --to: the released file to copy the other keys, the order and the types from.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(
        "convert",
        epilog="Example: mplug2 convert in.pth out.safetensors --spec configs_video/VideoQA_tgif_large.yaml",
    )(convert)


def convert(
    source: SourceFile,
    target: TargetFile,
    spec: NetworkSpec,
    read_family: ReadFamily = None,
    write_family: WriteFamily = None,
    like: OriginalFile = None,
) -> None:
    """Convert a released checkpoint to our weights, or back; report each key and why."""
    from mplug2.build.convert import export_file, import_file

    if write_family is not None:
        if read_family is not None:
            raise UserError(
                "mplug2 convert: --from and --to exclude each other. Remove one of them"
            )
        print(export_file(source, spec, target, write_family, like))
        return
    # Only writing copies from an original.
    if like is not None:
        raise UserError("mplug2 convert: --like needs --to. Add `--to FAMILY`")
    print(import_file(source, spec, target, read_family or DEFAULT_FAMILY))
