"""`mplug2 push`: a finished network to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("push", epilog="Example: mplug2 push runs/my_qa my-name/my-qa")(push)


def push(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="A run folder (its best checkpoint), or a checkpoint folder.",
            show_default=False,
        ),
    ],
    repository: Annotated[
        str,
        typer.Argument(
            metavar="REPO",
            help="The repository on the hub: OWNER/NAME. It is created if it does not exist.",
            show_default=False,
        ),
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Create the repository as a private one.")
    ] = False,
) -> None:
    """Upload spec, weights, vocabulary and a model card of a finished network to the Hugging Face hub."""
    from mplug2.predict.push import push as push_network

    address = push_network(run, repository, private=private)
    print(f'{address}: uploaded. Use it: mplug2.load("hf://{repository}")')
