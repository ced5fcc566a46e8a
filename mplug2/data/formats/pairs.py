"""Sentences with labels about images: NLVR2 (pairs of images), SNLI-VE and e-SNLI-VE."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mplug2.data.formats.entry import Entry, Row
from mplug2.data.formats.files import json_entries, table
from mplug2.data.rows import media_name

TRUTH = {"true": "True", "false": "False"}
ENTAILMENT = {name: name for name in ("contradiction", "neutral", "entailment")}


def nlvr2(path: Path, *, folder: str = "") -> Iterator[Row]:
    """Yield ``{"images": [left, right], "sentence", "label": True | False, "question_id"}`` of JSON lines.

    The images of ``dev-850-0-0`` are dev-850-0-img0.png and -img1.png; training images lie in
    ``directory``, the others in ``folder``.
    """
    for entry in json_entries(path):
        identifier = entry.text("identifier")
        if entry.has("left"):
            pair = [entry.media("left"), entry.media("right")]
        else:
            place = (
                f"{folder}/{entry.text('directory')}"
                if entry.has("directory")
                else folder
            )
            stem = identifier.rpartition("-")[0]
            pair = [
                media_name(f"{place}/{stem}-img{number}.png".lstrip("/"), entry.where)
                for number in (0, 1)
            ]
        label = entry.values.get("label")
        yield {
            "images": pair,
            "sentence": entry.text("sentence"),
            "label": TRUTH[str(label).lower()]
            if isinstance(label, bool)
            else entry.one_of(TRUTH, "label"),
            "question_id": identifier,
        }


def snli_ve(path: Path) -> Iterator[Row]:
    """Yield ``{"image", "sentence", "label", "question_id"}`` of SNLI-VE's JSON lines or e-SNLI-VE's tables.

    Sentences without agreement among their annotators (label ``-``) are left out, as SNLI asks.
    """
    tables = {".csv"} & {suffix.lower() for suffix in path.suffixes}
    for number, entry in enumerate(table(path, ",") if tables else json_entries(path)):
        if entry.text("gold_label", "label") == "-":
            continue
        yield {
            "image": _photo(entry),
            "sentence": entry.text("sentence2", "hypothesis", "sentence"),
            "label": entry.one_of(ENTAILMENT, "gold_label", "label"),
            "question_id": entry.text("pairID") if entry.has("pairID") else number,
        }


def _photo(entry: Entry) -> str:
    name = entry.media("Flickr30K_ID", "Flickr30kID", "image")
    return name if name.endswith(".jpg") else f"{name}.jpg"
