"""`mplug2 eject`: a spec's network as plain PyTorch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

import registry
from mplug2.cli.arguments import Overrides, SpecFile, only_overrides


def add_to(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(
        "eject",
        epilog="Example: mplug2 eject configs_video/VideoQA_msrvtt_large.yaml -o net.py",
    )(eject)


def eject(
    spec: SpecFile,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE.py", help="The file. Default: print it."
        ),
    ] = None,
) -> None:
    """Write a network out as one plain PyTorch class over the modules: same weight names, same outputs."""
    read = registry.read_spec(spec, overrides=only_overrides(overrides))
    from mplug2.build.eject import eject as write  # Torch takes seconds to import.
    from mplug2.runtime.atomic_write import atomic_write

    source = write(read)
    if out is None:
        print(source, end="")
        return
    if not os.path.isdir(out.parent):
        raise registry.UserError(f"there is no folder '{out.parent}' to write to")
    if out.suffix != ".py" or (os.path.exists(out) and not os.path.isfile(out)):
        raise registry.UserError(f"'{out}' must be a Python file (.py)")
    with atomic_write(out) as file:
        file.write(source)
    print(f"{out}: {len(source.splitlines())} lines")
