"""`mplug2 export`: a network as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mplug2.cli.arguments import Checkpoint, Overrides, SpecFile, only_overrides
from mplug2.cli.tables import print_table
from registry import read_spec


def add_to(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(
        "export",
        epilog="Example: mplug2 export my_captions.yaml -c runs/my_captions/best --to onnx -o exported",
    )(export)


def export(
    spec: SpecFile,
    checkpoint: Checkpoint,
    to: Annotated[
        Literal["onnx", "torch-export", "safetensors"],
        typer.Option("--to", help="The form of the files.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="A new or empty folder.",
            show_default=False,
        ),
    ],
    rounds: Annotated[
        int,
        typer.Option(
            "--time",
            metavar="N",
            help="Also measure the CPU time of N calls.",
            min=0,
        ),
    ] = 0,
    overrides: Overrides = None,
) -> None:
    """Write encoders and decoder step of a network as files that load without mplug2; outputs are compared."""
    from mplug2.build.compose import compose
    from mplug2.build.export import SUFFIXES, latency
    from mplug2.build.export import export as export_network
    from mplug2.weights.store import load_weights, weights_file

    weights_file(checkpoint)
    net = compose(
        read_spec(spec, only_overrides(overrides)), initial=False, drawn=False
    )
    load_weights(net, checkpoint)
    parts = export_network(net, to, out)
    names = ", ".join(part.name for part in parts)
    print(f"{out}: {names} of {net.spec.name}, equal to mplug2")
    if rounds and to in SUFFIXES:
        rows = []
        for part in parts:
            ours, theirs = latency(part, out / f"{part.name}{SUFFIXES[to]}", rounds)
            rows.append([part.name, f"{ours:.2f}", f"{theirs:.2f}"])
        columns = ["part", "mplug2 ms", f"{to} ms"]
        print_table("CPU time of one call, median", columns, rows, right=columns[1:])
