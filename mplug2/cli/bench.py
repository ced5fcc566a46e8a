"""`mplug2 bench`: figures that a reader can repeat."""

from __future__ import annotations

from typing import Annotated

import typer

from mplug2.cli.arguments import only_overrides

commands = typer.Typer(
    name="bench",
    help="Measure time and memory.",
    epilog="Example: mplug2 bench train-step --rounds 1",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


def add_to(app: typer.Typer) -> None:
    """Add the group to ``app``."""
    app.add_typer(commands)


@commands.callback()
def _group() -> None:
    """Hold the group together while it has one command."""


@commands.command(
    "train-step", epilog="Example: mplug2 bench train-step configs_video/VideoQA_msrvtt_base.yaml --clips 2"
)
def train_step(
    spec: Annotated[str, typer.Argument(metavar="[SPEC]")] = "configs_video/VideoQA_msrvtt_base.yaml",
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    clips: Annotated[int, typer.Option(help="Clips in a batch.", min=1)] = 2,
    questions: Annotated[int, typer.Option(help="Questions a clip in the grouped variant.", min=2)] = 6,
    steps: Annotated[int, typer.Option(help="Steps a process; the quickest counts.", min=1)] = 2,
    rounds: Annotated[int, typer.Option(help="Processes a variant, in turn; the median counts.", min=1)] = 2,
) -> None:
    """Time a training step (forward and backward, float32) and its peak memory: plain, recomputed, and
    grouped by clip."""
    from rich.console import Console
    from rich.table import Table

    from mplug2.bench.train_step import bench, lines

    console = Console()
    with console.status("each variant in a process of its own; base size takes some minutes on a CPU"):
        figures = bench(spec, only_overrides(overrides), clips, questions, steps, rounds)
    table = Table("variant", title=f"{spec}, {clips} clips")
    for column in ("s / step", "questions / s", "peak GB", "peak GB with AdamW"):
        table.add_column(column, justify="right")
    for row in lines(figures):
        table.add_row(*row)
    console.print(table)
