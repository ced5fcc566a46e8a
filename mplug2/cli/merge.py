"""`mplug2 merge`: the adapters of a checkpoint added to the weights that they adapt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mplug2.cli.arguments import Checkpoint, Overrides, SpecFile, only_overrides
from registry import UserError, read_spec


def add_to(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(
        "merge",
        epilog="Example: mplug2 merge my_lora.yaml -c runs/my_lora/best -o merged.safetensors",
    )(merge)


def merge(
    spec: SpecFile,
    checkpoint: Checkpoint,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The .safetensors file.",
            show_default=False,
        ),
    ],
    overrides: Overrides = None,
) -> None:
    """Write all weights of a network with adapters (`adapt`) as those of the network without them."""
    from mplug2.build.apply_adapters import merge as merge_adapters
    from mplug2.build.compose import compose
    from mplug2.weights.store import load_weights, save_weights

    if out.suffix != ".safetensors" or out.exists():
        raise UserError(f"--out must be a new .safetensors file (got {out})")
    read = read_spec(spec, only_overrides(overrides))
    if not read.adapt:
        raise UserError(f"{read.path}: to merge, a spec must have the section `adapt`")
    net = compose(read, initial=False, drawn=False)
    load_weights(net, checkpoint)
    count = merge_adapters(net)
    save_weights(net, out)
    print(
        f"{out}: {count} adapters merged. Load it with the spec without adapters: adapt="
    )
