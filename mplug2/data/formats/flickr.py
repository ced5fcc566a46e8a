"""Flickr8k and Flickr30k: captions.txt (a table), and the token files of the original releases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mplug2.data.formats.entry import Row
from mplug2.data.formats.files import lines, table
from mplug2.data.rows import media_name
from registry.errors import UserError


def flickr(path: Path) -> Iterator[Row]:
    """Yield ``{"image": ..., "caption": [texts]}``, one row an image, in the order of first appearance.

    A table ``image,caption`` with a header, or lines ``IMAGE.jpg#0<tab>caption``.
    """
    texts_of_image: dict[str, list[str]] = {}
    for image, caption in _table(path) if _has_header(path) else _tokens(path):
        texts_of_image.setdefault(image, []).append(caption)
    yield from (
        {"image": image, "caption": texts} for image, texts in texts_of_image.items()
    )


def _has_header(path: Path) -> bool:
    return (
        next((line for _, line in lines(path)), "")
        .replace(" ", "")
        .startswith("image,caption")
    )


def _table(path: Path) -> Iterator[tuple[str, str]]:
    return ((entry.media("image"), entry.text("caption")) for entry in table(path, ","))


def _tokens(path: Path) -> Iterator[tuple[str, str]]:
    for where, line in lines(path):
        name, tab, caption = line.partition("\t")
        image, mark, number = name.rpartition("#")
        if not (tab and mark and number.isdigit() and caption.strip()):
            raise UserError(
                f"{where}: a line must be IMAGE.jpg#NUMBER, a tab and a caption (or the file must begin "
                f"with image,caption), but is {line[:60]!r}"
            )
        yield media_name(image, where), " ".join(caption.split())
