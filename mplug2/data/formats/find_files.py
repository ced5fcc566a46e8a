"""Public files and media found below a folder by their names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from registry.errors import UserError

DEPTH = 6  # folders below the one that is searched
VIDEOS = (
    ".mp4",
    ".avi",
    ".mkv",
    ".mov",
    ".webm",
    ".gif",
    ".m4v",
    ".mpg",
    ".wmv",
    ".3gp",
    ".3g2",
    ".mts",
)
_GIF_FIRST = "tumblr"
# What the readers look for where a name has no suffix.
_KNOWN = {".mp4", ".avi"}


def walk(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, its links to folders left alone, in the order of their names."""
    start = len(folder.parts)
    for place, folders, files in os.walk(folder):
        folders.sort()
        # `os.walk` does not enter folders that are removed from its list.
        if len(Path(place).parts) - start >= DEPTH:
            folders.clear()
        yield from (Path(place) / name for name in sorted(files))


def in_words(names: Iterable[str]) -> str:
    """Return the names of files that a split is made of, each ``NAME`` or ``a|b``, for messages."""
    return " + ".join(name.replace("|", " or ") for name in names)


class SourceFiles:
    """The public files below ``folder`` that some names ask for: ``NAME``, ``FOLDER/NAME`` or ``a|b``, plain
    or .gz (of both the plain one); the search looks at names alone."""

    def __init__(self, folder: Path, wanted: Iterable[str]) -> None:
        if not folder.is_dir():
            raise UserError(
                f"--source {folder} must be a folder with the downloaded files, but does not exist"
            )
        file_names: set[str] = set()
        for name in wanted:
            for alternative in name.split("|"):
                file_name = alternative.rsplit("/", 1)[-1]
                file_names.update((file_name, f"{file_name}.gz"))
        self.folder = folder
        files = dict.fromkeys(path for path in walk(folder) if path.name in file_names)
        self._files = []
        for path in files:
            if path.suffix != ".gz" or path.with_suffix("") not in files:
                self._files.append(path)

    def get(self, name: str) -> Path | None:
        """Return the file of a name with the shortest path; raise UserError if there are two."""
        for alternative in name.split("|"):
            parts = tuple(alternative.split("/"))
            fits = [path for path in self._files if self._fits(path, parts)]
            if not fits:
                continue
            # Downloads often contain copies further down: the outermost file counts.
            top = min(len(path.parts) for path in fits)
            first, *others = [path for path in fits if len(path.parts) == top]
            if others:
                raise UserError(
                    f"{alternative} must be one file, but there are {first} and {others[0]}: "
                    "name the right folder by --source"
                )
            return first
        return None

    def _fits(self, path: Path, parts: tuple[str, ...]) -> bool:
        name = path.name.removesuffix(".gz")
        folders = path.relative_to(self.folder).parts[:-1]
        # The folder itself may be the one that a name asks for: --source .../refcoco.
        path_parts = (self.folder.resolve().name, *folders, name)
        return path_parts[-len(parts) :] == parts


class MediaIndex:
    """Where the files of annotated names are below a media folder, which are not there (``missing``), and
    which are there in several places (``unclear``: two of them)."""

    def __init__(self, folder: Path, kind: str) -> None:
        if not folder.is_dir():
            raise UserError(f"--media {folder} must be the folder of the {kind} files")
        self.folder, self.kind = folder, kind
        self.missing: dict[str, None] = {}
        self.unclear: dict[str, tuple[str, str]] = {}
        self._paths: dict[str, list[Path]] = {}
        for path in walk(folder):
            paths = self._paths.setdefault(self._key(path.name), [])
            paths.append(path.relative_to(folder))

    def place(self, name: str) -> str:
        """Return the name by which a task finds the file below the folder, unchanged if there are no files
        of that name or several."""
        # A name that leads to its file is not searched for, even if others have the same last part.
        for suffix in ("", *VIDEOS):
            path = self.folder / f"{name}{suffix}"
            if path.is_file():
                return self._named(path.relative_to(self.folder))
        fits = self._paths.get(self._key(name.rsplit("/", 1)[-1]), [])
        if len(fits) == 1:
            return self._named(fits[0])
        if fits:
            self.unclear[name] = fits[0].as_posix(), fits[1].as_posix()
        else:
            self.missing[name] = None
        return name

    def _key(self, name: str) -> str:
        """An image's name; a video's without its suffixes (some have two)."""
        while self.kind == "video" and name.lower().endswith(VIDEOS):
            name = name.rpartition(".")[0]
        return name

    def _named(self, path: Path) -> str:
        is_tgif = path.suffix == ".gif" and path.name.startswith(_GIF_FIRST)
        # Readers find these by the name alone; any other video needs its suffix.
        if self.kind == "video" and (path.suffix in _KNOWN or is_tgif):
            return path.with_suffix("").as_posix()
        return path.as_posix()
