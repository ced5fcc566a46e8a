"""Arguments of sources that name files: the folder of the media, and the list of files to leave out."""

from __future__ import annotations

from pathlib import Path

from mplug2.data.arguments import ArgumentError
from mplug2.data.files import read_text
from mplug2.data.json_text import parse_json
from registry.errors import UserError


def media_folder(media: str | None) -> Path:
    """Return the folder of the media files; ArgumentError if it is not set or does not exist."""
    if media is None:
        raise ArgumentError(
            "media", "media must name the folder of the media files, but is not set"
        )
    if not Path(media).is_dir():
        raise ArgumentError(
            "media", f"the media folder must exist, but {media} does not"
        )
    return Path(media)


def excluded_names(exclude_list: str | None) -> set[str]:
    """Return the names in a list that `mplug2 data check` wrote, none without a list.

    ArgumentError if it cannot be read.
    """
    if not exclude_list:
        return set()
    try:
        lines = read_text(Path(exclude_list)).split("\n")
        return {parse_json(line)["video_id"] for line in lines if line.strip()}
    except (UserError, ValueError, KeyError, TypeError):
        raise ArgumentError(
            "exclude_list",
            f"the list of excluded files {exclude_list} cannot be read; write it again with `mplug2 data check`",
        ) from None
