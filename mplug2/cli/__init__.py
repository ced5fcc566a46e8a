"""The command line. Nothing here imports torch before a command that computes has been chosen."""

from __future__ import annotations


def main() -> None:
    """Run the command that ``sys.argv`` holds, and exit: 0 done, 2 a user's mistake, 130 interrupted."""
    from mplug2.cli.app import app

    app()
