"""Files that a command is asked to write, judged before it does its work; and which checkpoint it reads."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from registry.errors import UserError

LONGEST = 235  # bytes of a name: 255 in most file systems, less the ending that it has until it is complete


def judge_outputs(
    outputs: Mapping[str, Path | None],
    taken: Collection[Path] = (),
    kinds: Literal["files", "pipes too"] = "files",
) -> None:
    """UserError where an option's file cannot be written, or would replace another option's or one ``taken``.

    Folders that are not there yet are made only when the file is written.
    """
    places: dict[Path, str] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        try:
            place = path.resolve()
            if path.exists() and not path.is_file():
                # `--out /dev/stdout`, or a named pipe: nothing to overwrite.
                if not path.is_dir() and kinds == "pipes too":
                    continue
                raise UserError(
                    f"{option} {path} must be a file, but is a folder or a device"
                )
            if len(os.fsencode(path.name)) > LONGEST:
                raise UserError(
                    f"{option} {path} must have a shorter name: at most {LONGEST} bytes"
                )
            folder = next(
                parent for parent in path.absolute().parents if parent.exists()
            )
            # Writing is the only sure test: rights do not show a full or read-only disk.
            with tempfile.TemporaryFile(dir=folder):
                pass
        except (OSError, RuntimeError, ValueError) as error:
            # RuntimeError: links in a circle.
            why = error.strerror if isinstance(error, OSError) else error
            raise UserError(f"{option} {path} cannot be written ({why})") from None
        if place in places:
            raise UserError(
                f"{option} must be another file than {places[place]}, but both are {path}"
            )
        if place in taken:
            raise UserError(
                f"{option} {path} must be a new file, but is one that this command reads"
            )
        places[place] = option


def print_checkpoint(path: Path) -> None:
    """Print on standard error which checkpoint is used; `best` and `last` are links to one.

    Nothing is printed of a checkpoint that does not exist.
    """
    if not path.exists():
        return
    target = f" ({path.resolve().name})" if path.is_symlink() else ""
    print(f"checkpoint: {path}{target}", file=sys.stderr)
