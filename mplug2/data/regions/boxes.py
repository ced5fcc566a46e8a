"""Boxes alone, in JSON lines: regions whose features a network takes from its own vision tower."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mplug2.data.regions.record import COORDINATES, RegionRecord
from mplug2.data.rows import kind_of, read_rows, shown
from registry.errors import UserError

_FORM = (
    "a line must be a JSON object with 'image' and 'boxes' ([[left, top, right, bottom], ...]), or 'things', "
    "a list of objects with a 'box'"
)


class BoxFile:
    """The boxes of each image; its regions have features of width 0.

    Lines are ``{"image": NAME, "boxes": [[left, top, right, bottom], ...]}`` or ``{"image": NAME, "things":
    [{"box": [...]}, ...]}``: fractions of the image, or pixels of images of ``size`` x ``size``.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        self.path = path
        self.boxes: dict[str, np.ndarray] = {}
        for where, row in read_rows(path, _FORM):
            name, boxes = _row(row, where)
            boxes = boxes / size if size else boxes
            if boxes.min() < 0 or boxes.max() > 1:
                raise UserError(
                    f"{where}: boxes must be fractions of the image (got {boxes.max():g}); for pixels, set "
                    "region_image_size to the edge of the images"
                )
            self.boxes[name] = boxes

    def read(self, name: str) -> RegionRecord:
        """Return the boxes of an image; raise `UserError`."""
        if name not in self.boxes:
            raise UserError(f"{self.path}: there are no boxes of {name}")
        boxes = self.boxes[name]
        return RegionRecord(np.zeros((len(boxes), 0), dtype=np.float32), boxes)


def _row(row: Any, where: str) -> tuple[str, np.ndarray]:
    if not isinstance(row, dict) or not isinstance(row.get("image"), str):
        raise UserError(f"{where}: {_FORM}, but is {kind_of(row)}")
    boxes = row.get("boxes")
    if boxes is None and isinstance(row.get("things"), list):
        boxes = [
            thing.get("box") if isinstance(thing, dict) else None
            for thing in row["things"]
        ]
    try:
        array = np.asarray(boxes, dtype=np.float32)
    except (ValueError, TypeError):
        array = np.zeros(0, dtype=np.float32)
    if (
        array.ndim != 2
        or array.shape[1] != COORDINATES
        or not len(array)
        or not np.isfinite(array).all()
    ):
        raise UserError(f"{where}: {_FORM}, but is {shown(row)}")
    return row["image"], array
