"""`mplug2 specs`: the specs that mplug2 ships, by name."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import typer

import registry
from mplug2.cli.tables import print_table
from registry.spec_folders import short_name


def add_to(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("specs", epilog="Example: mplug2 specs '*shapes_tiny'")(list_specs)


def list_specs(
    pattern: Annotated[
        str,
        typer.Argument(
            metavar="PATTERN", help="A name or a pattern, such as 'VideoQA_*'."
        ),
    ] = "*",
) -> None:
    """List the specs that mplug2 ships. Each command takes them by name: mplug2 train VideoQA_shapes_tiny."""
    files = []
    for file in registry.shipped_specs():
        if fnmatchcase(file.stem, pattern) or fnmatchcase(short_name(file), pattern):
            files.append(file)
    if not files:
        count = len(registry.shipped_specs())
        raise registry.UserError(
            f"no spec is named like '{pattern}'; there are {count}: mplug2 specs"
        )
    for folder in sorted({file.parent for file in files}):
        rows = [(file.stem, purpose(file)) for file in files if file.parent == folder]
        print_table(folder.name, ("name", "description"), rows)


def purpose(file: Path) -> str:
    """Return the first sentence of a spec's header; empty if it has no header."""
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#").strip()
        # The header's second part has keys (`run:`), one a line.
        if not line.startswith("#") or not text or text.split(" ")[0].endswith(":"):
            break
        lines.append(text)
    return " ".join(lines).split(". ")[0].rstrip(".")
