"""RefCOCO, RefCOCO+ and RefCOCOg as the refer toolkit publishes them: refs(...).p with instances.json."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from mplug2.data.formats.captions import in_folder
from mplug2.data.formats.entry import Entry, Row
from mplug2.data.formats.files import entries_of, json_entries, load
from mplug2.data.formats.pickles import read_plain_pickle
from registry.errors import UserError


def refer(refs: Path, instances: Path, *, split: str) -> Iterator[Row]:
    """Yield the phrases of a split (train, val, test, testA, testB) as ``{"image", "phrase", "box": [left,
    top, right, bottom], "question_id", "size"?}``; ``refs`` is a pickle of plain data, or the same as JSON.

    ``size`` is [width, height] where the images of the instances have them.
    """
    known = load(instances)
    images = entries_of(known, str(instances), "images")
    annotations = entries_of(known, str(instances), "annotations")
    files, sizes = {}, {}
    for record in images:
        number = record.whole("id")
        files[number] = record.media("file_name")
        if record.has("width") and record.has("height"):
            sizes[number] = [record.whole("width"), record.whole("height")]
    boxes = {annotation.whole("id"): annotation for annotation in annotations}
    value = _unpickled(refs, _stamp(refs)) if ".p" in refs.suffixes[-2:] else load(refs)
    for entry in entries_of(value, str(refs)):
        if entry.text("split") != split:
            continue
        image, box = entry.whole("image_id"), entry.whole("ann_id")
        if image not in files or box not in boxes:
            lacking = f"image {image}" if image not in files else f"annotation {box}"
            raise UserError(
                f"{entry.where}: {lacking} must be in {instances}, but is not"
            )
        for sentence in entry.entries("sentences"):
            row = {
                "image": in_folder(files[image], "train2014"),
                "phrase": sentence.text("sent", "raw"),
                "box": boxes[box].box("bbox"),
                "question_id": sentence.whole("sent_id"),
            }
            if image in sizes:
                row["size"] = sizes[image]
            yield row


def detections(path: Path) -> Iterator[Row]:
    """Yield the phrases and boxes of a list ``{"sent", "gt_box": [x, y, width, height],
    "pred_boxes_img_id": [IMAGE_0.jpg, ...]}``."""
    for number, entry in enumerate(json_entries(path)):
        crops = entry.texts("pred_boxes_img_id")
        image = Entry(
            {"image": f"{crops[0].rpartition('_')[0]}.jpg"}, entry.where
        ).media("image")
        yield {
            "image": in_folder(image, "train2014"),
            "phrase": entry.text("sent"),
            "box": entry.box("gt_box"),
            "question_id": number,
        }


def expressions(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the ref_id and the phrase of each line of the toolkit's result files, which models wrote."""
    for entry in json_entries(path, "predictions"):
        yield entry.whole("ref_id"), entry.text("sent")


@lru_cache(
    maxsize=1
)  # all splits are in one file, and to look at its instructions takes ten seconds
def _unpickled(path: Path, stamp: tuple[int, int]) -> Any:
    return read_plain_pickle(path)


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat() if path.is_file() else None
    return (stat.st_mtime_ns, stat.st_size) if stat else (0, 0)
