"""The images or videos of a user's table, found below a folder by what the table calls them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Literal

from mplug2.data.formats.find_files import VIDEOS, walk
from mplug2.data.labelled_media import IMAGES
from mplug2.data.rows import media_name
from registry.errors import UserError


class Refused(Exception):
    """Why a row cannot be used."""


class MediaFiles:
    """The images or videos below a folder, found by what a table calls them."""

    def __init__(self, folder: Path) -> None:
        """Look at the names of all files; UserError if the folder has no image and no video."""
        if not folder.is_dir():
            raise UserError(
                f"--media must be the folder of the images or videos (got {folder})"
            )
        self.folder = folder
        paths = []
        for path in walk(folder):
            if path.suffix.lower() in (*VIDEOS, *IMAGES):
                paths.append(path)
        if not paths:
            raise UserError(
                f"--media {folder} must hold images or videos (got no such file)"
            )
        num_videos = sum(path.suffix.lower() in VIDEOS for path in paths)
        # The majority decides: a folder of videos may hold their thumbnails, or the reverse.
        self.kind: Literal["video", "image"] = "image"
        if num_videos * 2 > len(paths):
            self.kind = "video"
        suffixes = VIDEOS if self.kind == "video" else IMAGES
        self.names: set[str] = set()
        self.by_name: dict[str, list[str]] = {}
        for path in paths:
            if path.suffix.lower() not in suffixes:
                continue
            name = path.relative_to(folder).as_posix()
            self.names.add(name)
            # A table may name a file by its path, its name, or its name without suffix, in any case.
            for key in {name.lower(), path.name.lower(), path.stem.lower()}:
                self.by_name.setdefault(key, []).append(name)

    def find(self, text: str, where: str) -> str:
        """Return the name of a file below the folder; raise Refused for none or several."""
        # Tables from Windows have backslashes.
        path = PurePosixPath(text.replace("\\", "/"))
        name = path.as_posix()
        if path.is_absolute() and path.is_relative_to(
            self.folder.absolute().as_posix()
        ):
            name = path.relative_to(self.folder.absolute().as_posix()).as_posix()
        if name in self.names:
            return self._inside(name, where)
        # The path first: two folders may have a file of one name.
        candidates = self.by_name.get(name.lower())
        if candidates is None:
            candidates = self.by_name.get(path.name.lower(), [])
        if not candidates:
            raise Refused(f"the {self.kind} is not below {self.folder}")
        if len(candidates) > 1:
            raise Refused(f"several {self.kind}s below {self.folder} have this name")
        return self._inside(candidates[0], where)

    def _inside(self, name: str, where: str) -> str:
        try:
            return media_name(name, where)
        except UserError:
            raise Refused(
                f"the name of the {self.kind} has unprintable characters"
            ) from None
