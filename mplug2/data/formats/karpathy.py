"""Karpathy's split of COCO, Flickr30k and Flickr8k: dataset_coco.json and its siblings."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from mplug2.data.formats.captions import in_folder
from mplug2.data.formats.entry import Row
from mplug2.data.formats.files import json_entries


def karpathy(path: Path, *, splits: Collection[str]) -> Iterator[Row]:
    """Yield ``{"image": ..., "caption": [texts]}`` for the images of some splits (COCO's training takes
    train and restval)."""
    for entry in json_entries(path, "images"):
        if entry.text("split") not in splits:
            continue
        # COCO's images are in the folders of 2014; Flickr's have no folder.
        folder = entry.media("filepath") if entry.has("filepath") else ""
        image = in_folder(entry.media("filename"), folder)
        sentences = [sentence.text("raw") for sentence in entry.entries("sentences")]
        yield {"image": image, "caption": sentences}
