"""Questions about videos: MSRVTT-QA, MSVD-QA and TGIF-QA's frame questions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from mplug2.data.formats.entry import Entry, Row
from mplug2.data.formats.files import json_entries, lines, table
from mplug2.data.rows import media_name
from registry.errors import UserError

_FRAME_TYPES = {"0": "object", "1": "number", "2": "colour", "3": "location"}


def video_qa(path: Path, *, prefix: str, mapping: Path | None = None) -> Iterator[Row]:
    """Yield ``{"video_id", "question", "answer", "question_id"}`` of a JSON list, JSON lines, or a mapping of
    ids.

    Videos that are numbers get ``prefix`` (7 is video7); ``mapping`` then maps it to the file (`youtube`).
    """
    names = youtube(mapping) if mapping else {}
    for number, entry in enumerate(json_entries(path)):
        video = _video(entry, prefix)
        if names and video not in names:
            raise UserError(
                f"{entry.where}: the video {video} must be in {mapping}, but is not"
            )
        yield {
            "video_id": names.get(video, video),
            "question": entry.text("question"),
            "answer": entry.text("answer"),
            "question_id": entry.id("id", "question_id")
            if entry.has("id", "question_id")
            else number,
        }


def youtube(path: Path) -> Mapping[str, str]:
    """Return file names by ``vidN``: lines ``YOUTUBE_start_end vidN``."""
    files = {}
    for where, line in lines(path):
        words = line.split()
        if len(words) != 2:
            raise UserError(f"{where}: a line must be FILE vidN, but is {line[:60]!r}")
        files[words[1]] = media_name(words[0], where)
    return files


def tgif_frame_qa(path: Path) -> Iterator[Row]:
    """Yield TGIF-QA's frame questions (a table with tabs), with their type: object, number, colour,
    location."""
    for number, entry in enumerate(table(path, "\t")):
        yield {
            "video_id": entry.media("gif_name"),
            "question": entry.text("question"),
            "answer": entry.text("answer"),
            "type": entry.one_of(_FRAME_TYPES, "type"),
            "question_id": number,
        }


def _video(entry: Entry, prefix: str) -> str:
    value = entry.id("video_id", "video")
    return (
        f"{prefix}{value}" if isinstance(value, int) else media_name(value, entry.where)
    )
