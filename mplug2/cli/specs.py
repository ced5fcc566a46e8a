"""`mplug2 check`, `show` and `list`: check and describe a spec, and list what it can name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

import registry
from mplug2.cli.arguments import Overrides, SpecFile, only_overrides
from mplug2.cli.checking import Request, check_specs, specs_and_overrides
from mplug2.cli.listing import list_names
from mplug2.cli.tables import amount, print_table

if TYPE_CHECKING:
    from mplug2.build.dry_run import ModuleRow


def add_to(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command(
        "check",
        epilog="Example: mplug2 check configs_video/VideoQA_*.yaml --stages 1-3",
    )(check)
    app.command(
        "show",
        epilog="Example: mplug2 show configs_video/VideoQA_shapes_tiny.yaml modules.vision.frames=8",
    )(show)
    app.command("list", epilog="Example: mplug2 list 'video*'")(list_names)


def check(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="SPEC... [KEY=VALUE...]",
            help="Specs, and settings for them.",
            show_default=False,
        ),
    ],
    stages: Annotated[
        Literal["1-3", "1-4"],
        typer.Option(
            help="1 read, 2 names, 3 axes, 4 dry run (only this one needs torch)."
        ),
    ] = "1-4",
    smoke: Annotated[
        bool,
        typer.Option(
            "--smoke", help="Also stage 5: one small training step on the CPU."
        ),
    ] = False,
    run: Annotated[
        bool,
        typer.Option(
            "--run",
            help="Also check everything that train, eval, predict and index need: files, vocabularies.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per spec and line.")
    ] = False,
) -> None:
    """Report the mistakes of specs before any weights are created; exit code 2 if a spec has one."""
    files, overrides = specs_and_overrides(arguments)
    if not files:
        raise registry.UserError(
            "name at least one spec, for example configs_video/VideoQA_shapes_tiny.yaml"
        )
    last = 4 if smoke or run else int(stages[-1])
    request = Request(files, overrides, last, smoke=smoke, run=run, as_json=as_json)
    if not check_specs(request):
        raise typer.Exit(2)


def show(spec: SpecFile, overrides: Overrides = None) -> None:
    """Print a network's streams, shapes, parameters and FLOPs per goal, without building its weights."""
    read = registry.read_spec(spec, overrides=only_overrides(overrides))
    from mplug2.build.dry_run import dry_run  # Torch takes seconds to import.

    summary = dry_run(read)
    print_table(
        "streams",
        ("stream", "call", "shape", "goals"),
        [
            (row.name, row.call, row.shape, ", ".join(row.goals))
            for row in summary.streams
        ],
    )
    print_table(
        "modules",
        ("module", "use", "parameters", "trainable", "lines", ""),
        [
            (
                row.name,
                row.use,
                f"{row.parameters:,}",
                f"{row.trainable:,}",
                row.shared,
                _marks(row),
            )
            for row in summary.modules
        ],
        right=("parameters", "trainable", "lines"),
    )
    if summary.inferred:
        rows = [(row.argument, str(row.value), row.origin) for row in summary.inferred]
        print_table("inferred arguments", ("argument", "value", "from"), rows)
    print_table(
        "goals",
        ("goal", "forward", "activations"),
        [
            (row.goal, amount(row.flops, "FLOP"), amount(row.activations, "B"))
            for row in summary.goals
        ],
        right=("forward", "activations"),
    )
    print(f"{summary.total:,} parameters, {summary.trainable:,} of them trainable")


def _marks(row: ModuleRow) -> str:
    """What is to be noticed about a module: that it is called in several lines, that it is held still."""
    frozen = (
        ""
        if row.trainable == row.parameters
        else "frozen"
        if not row.trainable
        else "frozen in part"
    )
    return ", ".join(one for one in ("shared" if row.shared > 1 else "", frozen) if one)
