"""The errors of an evaluation as a contact sheet: what was predicted, what is true, and the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mplug2.data.media.folder import UNREADABLE, MediaFolder
from mplug2.data.media.video_file import scan_video
from mplug2.data.rows import names
from mplug2.data.sources.source import Source
from mplug2.metrics.metric import Row
from mplug2.predict.predict_loader import look
from mplug2.predict.result import Look, Prediction, Result
from mplug2.predict.sheet import PICTURES, Sheet

MEDIA_FIELDS = ("video_id", "image", "images", "left")
LONGEST_TEXT = 600  # characters of a question or a text


def write_errors(
    path: Path, heading: str, rows: Sequence[Row], source: Source | None
) -> None:
    """Write wrong predictions as an HTML page, in their order.

    ``source`` finds the files of the rows; rows about texts, and sources without files, have none.
    """
    media = getattr(source, "media", None)
    with Sheet(path, heading) as sheet:
        for row in rows:
            sheet.add([error_result(row, media)])


def error_result(row: Row, media: MediaFolder | None) -> Result:
    """Return what a sheet shows of a row: the question with its true answers, and the prediction."""
    key, files = _files(row)
    true = ", ".join(str(answer) for answer in row.get("answers", ()))
    asked = _asked(row)
    heading = f"{asked[:LONGEST_TEXT]} (true: {true})" if asked else f"true: {true}"
    guess = Prediction(str(row["prediction"]), float(row["score"]))
    looks: tuple[Look, ...] = ()
    error = None
    if media is not None and files:
        try:
            looks = tuple(_look(media, name) for name in files)
        except UNREADABLE as problem:
            error = str(problem)
    label = files or (f"sample {row.get('question_id', '')}".strip(),)
    return Result(label, key, (guess,), heading, error, looks)


def _files(row: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return the key of a row's files, and their names; none for a row about a text."""
    if not any(row.get(field) for field in MEDIA_FIELDS):
        return "text", ()
    # Only what names files is passed on: a pair may be a list under a key that means one file elsewhere.
    named = {}
    for field in MEDIA_FIELDS:
        value = row.get(field)
        if value:
            named["images" if isinstance(value, list) else field] = value
    return names(named, "a row of the evaluation")


def _asked(row: Mapping[str, Any]) -> str:
    """Return the question of a row, or the texts that it is about."""
    if "question" in row:
        return str(row["question"])
    texts = []
    for name, value in row.items():
        is_text = isinstance(value, str) and name not in ("prediction", *MEDIA_FIELDS)
        if is_text and name not in ("question_id", "type"):
            texts.append(value)
    return " / ".join(texts)


def _look(media: MediaFolder, name: str) -> Look:
    """Return a file as an image, or frames of a video that are evenly spread."""
    file = media.file(name)
    if media.kind == "image":
        pixels = media.picture(file)
        return look(pixels[None], pixels.shape[:2], PICTURES)
    scan = scan_video(file, media.limits)
    frames = media.frames_of(file, _spread, None, scan)
    return look(frames, frames.shape[1:3], PICTURES)


def _spread(total: int) -> list[int]:
    """Return the frames that are shown of ``total``."""
    return np.linspace(0, total - 1, min(PICTURES, total)).round().astype(int).tolist()
