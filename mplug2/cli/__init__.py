"""The command line. Nothing here imports torch before a command that computes has been chosen."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command that ``sys.argv`` holds, and exit: 0 done, 1 some of it, 2 a user's mistake, 130
    interrupted."""
    for stream in (sys.stdout, sys.stderr):  # a terminal may know fewer letters than a message has
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if sys.argv[1:2] == ["check"]:
        from mplug2.cli.checking import quick

        if (code := quick(sys.argv[2:])) is not None:
            sys.exit(code)
    from mplug2.cli.app import app

    app()
