"""Captions of images and videos as JSON: the COCO format and its relatives (MSR-VTT, MSVD, NoCaps, VATEX-like
lists).

Read are ``{"images": [...], "annotations": [{"image_id", "caption"}]}`` (COCO, NoCaps),
``{"sentences": [{"video_id", "caption"}]}`` (MSR-VTT), ``{name: [captions]}`` (MSVD),
``{name: {sentence id: caption}}`` and lists of ``{"image_id" | "image" | "video_id", "caption" |
"captions"}``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mplug2.data.formats.entry import Entry, Row
from mplug2.data.formats.files import entries_of, lines, load
from mplug2.data.rows import media_name, shown
from registry.errors import UserError

_COCO = re.compile(r"COCO_(\w+2\d\d\d)_\d{12}\.jpg")
_NAMES = ("image_id", "video_id", "image", "filename")


def captions(*paths: Path, key: str = "image", folder: str = "") -> Iterator[Row]:
    """Yield ``{key: name, "caption": [texts]}``, one row a file, in the order of first appearance.

    ``folder`` is put before names of images without a folder; those of COCO 2014 contain it.
    """
    rows: dict[str, Row] = {}
    for path in paths:
        for name, texts, more in _pairs(path):
            name = in_folder(name, folder) if key == "image" else name
            row = rows.setdefault(name, {key: name, "caption": [], **more})
            row["caption"] += texts
    yield from rows.values()


def names(path: Path) -> set[str]:
    """Return the first word of every line of a split list, without folder and suffix; a header is a name
    that no file has."""
    return {stem(re.split(r"[,\s]", line)[0]) for _, line in lines(path)}


def keep_listed(
    rows: Iterable[Row], listed: Collection[str], key: str = "image"
) -> Iterator[Row]:
    """Yield the rows whose file is listed (`names`)."""
    return (row for row in rows if stem(row[key]) in listed)


def drop_listed(
    rows: Iterable[Row], *listed: Collection[str], key: str = "image"
) -> Iterator[Row]:
    """Yield the rows whose file is in none of the lists."""
    dropped: set[str] = set().union(*listed)
    return (row for row in rows if stem(row[key]) not in dropped)


def stem(name: str) -> str:
    """Return a file name without its folder, and without the suffix of an image."""
    last = name.rsplit("/", 1)[-1]
    # Only these suffixes: the name of a video may have a dot in it.
    if last.lower().endswith((".jpg", ".jpeg", ".png")):
        return PurePosixPath(last).stem
    return last


def in_folder(name: str, folder: str = "") -> str:
    """Return the path of an image: COCO's names of 2014 and 2015 contain their folder, others are put in
    ``folder``."""
    if "/" in name:
        return name
    match = _COCO.fullmatch(name)
    parent = match.group(1) if match else folder
    return f"{parent}/{name}" if parent else name


def numbered(number: int) -> str:
    """Return the file name of a COCO image of 2017 and later."""
    return f"{number:012d}.jpg"


def _pairs(path: Path) -> Iterator[tuple[str, list[str], Row]]:
    where, value = str(path), load(path)
    if not isinstance(value, dict) or {"annotations", "sentences"} & set(value):
        files = _files(value, where)
        for entry in entries_of(value, where, "annotations", "sentences"):
            name, more = _name(entry, files)
            yield name, entry.texts("caption", "captions"), more
        return
    for name, content in value.items():
        place = f"{where}: {shown(name)}"
        texts = list(content.values()) if isinstance(content, dict) else content
        checked = Entry({"captions": texts}, place).texts("captions")
        yield media_name(name, place), checked, {}


def _files(value: Any, where: str) -> dict[int | str, tuple[str, Row]]:
    """Names of the images by id, with the domain in NoCaps."""
    if not isinstance(value, dict) or "images" not in value:
        return {}
    files: dict[int | str, tuple[str, Row]] = {}
    for entry in entries_of(value, where, "images"):
        has_name = entry.has("file_name")
        name = entry.media("file_name") if has_name else _named(entry, "id")
        # NoCaps reports its scores by domain: in, near and out of COCO's classes.
        more: Row = {"type": entry.text("domain")} if entry.has("domain") else {}
        files[entry.id("id")] = name, more
    return files


def _name(entry: Entry, files: dict[int | str, tuple[str, Row]]) -> tuple[str, Row]:
    if not files:
        return _named(entry, *_NAMES), {}
    number = entry.id(*_NAMES)
    if number not in files:
        raise UserError(
            f"{entry.where}: the image {number!r} must be among 'images', but is not"
        )
    return files[number]


def _named(entry: Entry, *keys: str) -> str:
    value = entry.id(*keys)
    return numbered(value) if isinstance(value, int) else media_name(value, entry.where)
