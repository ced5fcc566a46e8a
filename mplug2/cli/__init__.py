"""The command line. Nothing here imports torch before a command that computes has been chosen."""

from __future__ import annotations

import sys
import warnings
from typing import TextIO


def main() -> None:
    """Run the command that ``sys.argv`` holds, and exit: 0 done, 1 some of it, 2 a user's mistake, 130
    interrupted."""
    for stream in (
        sys.stdout,
        sys.stderr,
    ):  # a terminal may know fewer letters than a message has
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    _read_old_words()
    if sys.argv[1:2] == ["check"]:
        from mplug2.cli.checking import quick

        if (code := quick(sys.argv[2:])) is not None:
            sys.exit(code)
    from mplug2.cli.app import app

    app()


def _read_old_words() -> None:
    """Replace old options of the command line, and let warnings of old words be one line each."""
    from registry.language.aliases import command_line

    words, changes = command_line(sys.argv[1:])
    sys.argv[1:] = words
    for old, new in changes:
        print(f"warning: '{old}' is now '{new}'", file=sys.stderr)
    warnings.showwarning = _show_warning


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    from registry.language.renames import RenamedWarning

    text = f"warning: {message}\n"
    # The position of an old word is in the message: that of the code that read it does not help the user.
    if not issubclass(category, RenamedWarning):
        text = warnings.formatwarning(message, category, filename, lineno, line)
    (file or sys.stderr).write(text)
