"""Videos with sentences to find them by: MSR-VTT's 1k-A test, DiDeMo's paragraphs, LSMDC."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mplug2.data.formats.captions import captions, keep_listed
from mplug2.data.formats.entry import Row
from mplug2.data.formats.files import json_entries, table
from mplug2.data.rows import media_name

_LSMDC = (
    "clip",
    "start_aligned",
    "end_aligned",
    "start_extracted",
    "end_extracted",
    "sentence",
)
_TIMES = re.compile(r"_\d\d\.\d\d\.\d\d\.\d\d\d-\d\d\.\d\d\.\d\d\.\d\d\d$")


def msrvtt(path: Path, *, split: str) -> Iterator[Row]:
    """Yield ``{"video_id", "caption": [texts]}`` for the videos of a split (train, validate, test) of the
    official files, which contain it."""
    videos = json_entries(path, "videos")
    listed = {
        entry.media("video_id") for entry in videos if entry.text("split") == split
    }
    return keep_listed(captions(path, key="video_id"), listed, key="video_id")


def jsfusion(path: Path) -> Iterator[Row]:
    """Yield ``{"video_id", "caption": [sentence]}`` of MSR-VTT's 1k-A test (a table key, vid_key, video_id,
    sentence)."""
    for entry in table(path, ","):
        yield {"video_id": entry.media("video_id"), "caption": [entry.text("sentence")]}


def didemo(path: Path) -> Iterator[Row]:
    """Yield ``{"video_id", "caption": [paragraph]}``: all descriptions of a video, joined in their order.

    The name has no suffix: videos that were fetched twice under two suffixes are one (1065 for validation,
    1004 for test, as published results count them).
    """
    descriptions: dict[str, list[str]] = {}
    for entry in json_entries(path):
        stem = entry.media("video").partition(".")[0]
        descriptions.setdefault(stem, []).append(entry.text("description"))
    for video, sentences in descriptions.items():
        yield {"video_id": video, "caption": [" ".join(sentences)]}


def lsmdc(path: Path) -> Iterator[Row]:
    """Yield ``{"video_id": MOVIE/CLIP, "caption": [sentence]}`` of LSMDC's tables (tabs, no header)."""
    for entry in table(path, "\t", _LSMDC, quotes=False):
        clip = entry.media("clip")
        movie = _TIMES.sub("", clip)
        yield {
            "video_id": media_name(f"{movie}/{clip}", entry.where),
            "caption": [entry.text("sentence")],
        }
