"""Which files are meant: named one by one, in folders, or in lists of paths."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from registry.errors import UserError

Kind = Literal["video", "image"]
Entry = tuple[str, ...]  # the paths that one question is about: one, or the two of a pair

SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "video": (
        *(".3gp", ".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv"),
        *(".ts", ".webm", ".wmv"),
    ),
    "image": (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"),
}
MAX_LIST = 64 << 20  # bytes of a list of paths


def entries(named: Sequence[Path], lists: Sequence[Path], kind: Kind, each: int) -> list[Entry]:
    """Return what ``named`` files and folders and ``lists`` mean, in that order; ``each`` files a question.

    Pairs (``each`` 2) are files named alternately, or two paths on a line of a list with a tab between them.
    UserError where nothing is found.
    """
    found: list[Entry] = [
        tuple(map(str, named[start : start + each])) for start in range(0, len(named), each)
    ]
    if each == 1:
        found = [
            (one,) for path in named for one in (_walk(path, kind) if os.path.isdir(path) else [str(path)])
        ]
    else:
        if folder := next((path for path in named if os.path.isdir(path)), None):
            raise UserError(
                f"{folder} must be a file, for the network compares {each} {kind}s, but is a folder; name "
                "the files of each pair alternately, or two on a line of --files-from, with a tab "
                "between them"
            )
        if len(named) % each:
            raise UserError(
                f"the network compares {each} {kind}s: name them alternately, --{kind} A --{kind} B; "
                f"there are {len(named)}"
            )
    found += [entry for path in lists for entry in _listed(path, each)]
    if not found:
        raise UserError(f"name at least one file: --{kind} FILE, --{kind} FOLDER or --files-from FILE")
    return found


def _walk(folder: Path, kind: Kind) -> list[str]:
    """The files below a folder by their suffix, sorted; nothing hidden, and no link that leads out of it."""
    inside = os.path.realpath(folder)
    found = []
    for where, folders, names in os.walk(folder):  # os.walk enters no linked folder
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(where, name)
            if name.startswith(".") or path.suffix.lower() not in SUFFIXES[kind]:
                continue
            if not path.is_symlink() or Path(os.path.realpath(path)).is_relative_to(inside):
                found.append(str(path))
    if not found:
        suffixes = " ".join(SUFFIXES[kind])
        raise UserError(f"the folder {folder} must hold {kind}s ({suffixes}), but does not")
    return found


def _listed(path: Path, each: int) -> Iterator[Entry]:
    """The paths of a list, one entry a line; empty lines and those that begin with # are passed over."""
    try:
        if path.stat().st_size > MAX_LIST:
            raise UserError(f"the list {path} must have at most {MAX_LIST >> 20} MB; cut it into several")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"the list {path} must be text with one path a line, but cannot be read ({error})"
        ) from None
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip("\r")
        if not line.strip() or line.startswith("#"):
            continue
        entry = tuple(line.split("\t")) if each > 1 else (line,)
        if len(entry) != each or not all(entry) or "\0" in line:
            raise UserError(f"{path}:{number}: a line must be {each} path(s), with tabs between them")
        yield entry
