"""Which files are meant: named one by one, in folders, or in lists of paths."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from registry.errors import UserError

Kind = Literal["video", "image"]
Entry = tuple[
    str, ...
]  # the paths that one question is about: one, or the two of a pair

SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "video": (
        *(".3gp", ".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg"),
        *(".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"),
    ),
    "image": (
        *(".avif", ".bmp", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpeg"),
        *(".jpg", ".jpx", ".png", ".ppm", ".tif", ".tiff", ".webp"),
    ),
}
MAX_LIST = 64 << 20  # bytes of a list of paths
_SHOWN = 5  # names that a line about skipped files lists, for each reason

Report = Callable[[str], None]


def entries(
    named: Sequence[Path],
    lists: Sequence[Path],
    kind: Kind,
    each: int,
    report: Report = lambda line: None,
) -> list[Entry]:
    """Return what ``named`` files and folders and ``lists`` mean, in that order; ``each`` files a question.

    Pairs (``each`` 2) are files named alternately, or two paths on a line of a list with a tab between them.
    ``report`` gets a line about each folder in which files were skipped, with the reason. UserError where
    nothing is found.
    """
    entries: list[Entry] = []
    if each == 1:
        for path in named:
            files = _walk(path, kind, report) if os.path.isdir(path) else [str(path)]
            entries += [(file,) for file in files]
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
        for start in range(0, len(named), each):
            entries.append(tuple(map(str, named[start : start + each])))
    for path in lists:
        entries += _listed(path, each)
    if not entries:
        raise UserError(
            f"name at least one file: --{kind} FILE, --{kind} FOLDER or --files-from FILE"
        )
    return entries


def _walk(folder: Path, kind: Kind, report: Report) -> list[str]:
    """The files below a folder by their suffix, sorted; nothing hidden, and no link that leads out of it."""
    inside = os.path.realpath(folder)
    files = []
    skipped = defaultdict(list)
    # `os.walk` enters no linked folder.
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(where, name)
            if name.startswith("."):
                continue
            if path.suffix.lower() not in SUFFIXES[kind]:
                skipped[f"no {kind} by the suffix"].append(name)
            # A shared folder must not make a command read files elsewhere.
            elif _leads_out(path, inside):
                skipped["a link that leads out of the folder"].append(name)
            else:
                files.append(str(path))
    if not files:
        suffixes = " ".join(SUFFIXES[kind])
        raise UserError(
            f"the folder {folder} must hold {kind}s ({suffixes}), but does not"
        )
    if skipped:
        report(_skipped_line(folder, skipped))
    return files


def _leads_out(path: Path, folder: str) -> bool:
    """Return whether a path is a link to a file outside of a folder."""
    return path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(folder)


def _skipped_line(folder: Path, skipped: dict[str, list[str]]) -> str:
    """Return a line about the files of a folder that were skipped, by reason."""
    parts = []
    for reason, names in skipped.items():
        more = ", ..." if len(names) > _SHOWN else ""
        parts.append(f"{', '.join(names[:_SHOWN])}{more}: {reason}")
    count = sum(map(len, skipped.values()))
    return (
        f"{folder}: {count} file{'s' if count > 1 else ''} skipped ({'; '.join(parts)})"
    )


def _listed(path: Path, each: int) -> Iterator[Entry]:
    """The paths of a list, one entry a line; empty lines and those that begin with # are passed over."""
    try:
        if path.stat().st_size > MAX_LIST:
            raise UserError(
                f"the list {path} must have at most {MAX_LIST >> 20} MB; cut it into several"
            )
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
            raise UserError(
                f"{path}:{number}: a line must be {each} path(s), with tabs between them"
            )
        yield entry
