"""`mplug2 diff`: in what two specs differ once everything is resolved."""

from __future__ import annotations

from typing import Annotated

import typer

import registry
from mplug2.cli.arguments import Overrides, only_overrides
from mplug2.cli.tables import print_table


def add_to(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(
        "diff",
        epilog="Example: mplug2 diff configs_video/VideoQA_msrvtt_base.yaml "
        "configs_video/VideoQA_msrvtt_large.yaml",
    )(diff)


def diff(
    one: Annotated[
        str, typer.Argument(metavar="A", help="A composition spec.", show_default=False)
    ],
    other: Annotated[
        str, typer.Argument(metavar="B", help="Another one.", show_default=False)
    ],
    overrides: Overrides = None,
) -> None:
    """Compare two specs: resolved settings, shapes of streams, weights. Exit code 1 if they differ."""
    from mplug2.build.describe import describe, differences

    settings = only_overrides(overrides)
    left, right = (
        describe(registry.read_spec(file, overrides=settings)) for file in (one, other)
    )
    found = differences(left, right)
    for title, rows in found.items():
        print_table(
            title, ("", one, other), [(name, a or "-", b or "-") for name, a, b in rows]
        )
    if not found:
        print("no differences")
        return
    raise typer.Exit(1)
