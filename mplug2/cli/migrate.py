"""`mplug2 migrate`: rewrite specs in the present names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import registry
from registry.errors import visible


def add_to(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("migrate", epilog="Example: mplug2 migrate my_specs/*.yaml")(migrate)


def migrate(
    specs: Annotated[
        list[str],
        typer.Argument(metavar="SPEC...", help="Specs to rewrite.", show_default=False),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the changes, and write nothing.")
    ] = False,
) -> None:
    """Replace old names in specs, in place. Comments and layout stay."""
    from mplug2.runtime.atomic_write import atomic_write
    from registry.language.migrate import migrated

    for file in specs:
        if not Path(file).is_file():
            raise registry.UserError(f"{file}: no such file")
    for file in specs:
        text, renames = migrated(file)
        for rename in renames:
            print(visible(f"{rename.location}: '{rename.old}' -> '{rename.new}'"))
        names = "1 name" if len(renames) == 1 else f"{len(renames)} names"
        print(f"{visible(file)}: {names} {'to replace' if dry_run else 'replaced'}")
        if renames and not dry_run:
            with atomic_write(Path(file)) as stream:
                stream.write(text)
