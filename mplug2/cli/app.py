"""All commands under one name, and what becomes of an error in any of them."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mplug2 import __version__
from mplug2.cli import (
    bench,
    comparing,
    convert,
    data,
    data_check,
    diff,
    doctor,
    drawing,
    eject,
    export,
    finding,
    index,
    merge,
    metrics,
    migrate,
    own_data,
    predict,
    push,
    running,
    runs,
    shipped,
    specs,
)
from registry.errors import UserError, visible


class Commands(TyperGroup):
    """The top of the command tree: a user's mistake is one message and exit code 2, an interruption 130."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command; with MPLUG2_DEBUG=1 a user's mistake keeps its traceback."""
        try:
            result = super().invoke(ctx)
            # A pipe that was closed shows here, where typer ends quietly, and not at exit.
            # What was printed before the error comes before it, also in a pipe.
            sys.stdout.flush()
        except UserError as error:
            if os.environ.get("MPLUG2_DEBUG") == "1":
                raise
            sys.stdout.flush()
            print(visible(str(error)), file=sys.stderr)
            raise typer.Exit(2) from None
        except OSError as error:
            # A full disk is for the user to clear; any other error of a file may be a bug here.
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            # What is left in the buffer cannot be written either: at exit it goes nowhere.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            print(
                f"{error.filename or 'the output'} cannot be written ({error.strerror})",
                file=sys.stderr,
            )
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(130) from None
        return result


app = typer.Typer(
    cls=Commands,
    name="mplug2",
    help="Compose networks for text, image and video from one YAML file, train them, and use them.",
    epilog="Example: mplug2 check configs_video/VideoQA_shapes_tiny.yaml",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(is_asked: bool) -> None:
    if is_asked:
        print(f"mplug2 {__version__}")
        raise typer.Exit()


@app.callback()
def _top(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    local_rank: Annotated[int, typer.Option("--local_rank", hidden=True)] = -1,
) -> None:
    """Hold the options before a command; deepspeed puts `--local_rank` there, which LOCAL_RANK repeats."""


specs.add_to(app)
shipped.add_to(app)
finding.add_to(app)
doctor.add_to(app)
migrate.add_to(app)
drawing.add_to(app)
diff.add_to(app)
eject.add_to(app)
running.add_to(app)
runs.add_to(app)
comparing.add_to(app)
predict.add_to(app)
index.add_to(app)
data.add_to(app)
data_check.add_to(app)
own_data.add_to(app)
convert.add_to(app)
merge.add_to(app)
push.add_to(app)
export.add_to(app)
metrics.add_to(app)
bench.add_to(app)
