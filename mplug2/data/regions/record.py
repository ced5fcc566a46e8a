"""The regions of one image, which of them are read, and a batch of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from modules.streams import Regions
from registry.errors import UserError

# Bytes of one image, so that a small file cannot fill the memory.
LARGEST_RECORD = 1 << 28
COORDINATES = 4
# UNITER's names.
FEATURES, BOXES, CONFIDENCE, CLASSES = "features", "norm_bb", "conf", "soft_labels"


@dataclass(frozen=True)
class RegionRecord:
    """The regions of one image: float32 ``features`` [R W] and ``boxes`` [R 4], fractions of the image.

    ``confidence`` [R] of the detector, and ``classes`` [R C], its probabilities, where the file has them.
    """

    features: np.ndarray
    boxes: np.ndarray
    confidence: np.ndarray | None = None
    classes: np.ndarray | None = None

    def first(self, count: int) -> RegionRecord:
        """Return the first regions."""
        confidence = None if self.confidence is None else self.confidence[:count]
        classes = None if self.classes is None else self.classes[:count]
        return RegionRecord(
            self.features[:count], self.boxes[:count], confidence, classes
        )


class RegionStore(Protocol):
    """The regions of many images."""

    def read(self, name: str) -> RegionRecord:
        """Return the regions of an image by the name of its file; raise `UserError`."""
        ...


def record_of(arrays: Mapping[str, Any], where: str) -> RegionRecord:
    """Return the record of arrays under UNITER's names; raise `UserError` for shapes that do not fit.

    ``norm_bb`` may have further columns after its four coordinates: width, height and area are computed.
    """
    for name in (FEATURES, BOXES):
        if name not in arrays:
            raise UserError(
                f"{where}: must hold '{name}', but holds {', '.join(arrays) or 'nothing'}"
            )
    features = _floats(arrays[FEATURES], where, FEATURES)
    boxes = _floats(arrays[BOXES], where, BOXES)[:, :COORDINATES]
    confidence, classes = arrays.get(CONFIDENCE), arrays.get(CLASSES)
    if confidence is not None:
        confidence = np.asarray(confidence, dtype=np.float32).reshape(-1)
    if classes is not None:
        classes = _floats(classes, where, CLASSES)
    record = RegionRecord(features, boxes, confidence, classes)
    optional = {BOXES: boxes, CONFIDENCE: confidence, CLASSES: classes}
    for name, array in optional.items():
        if array is not None and len(array) != len(features):
            raise UserError(
                f"{where}: '{name}' must have {len(features)} rows, but has {len(array)}"
            )
    if boxes.shape[1] != COORDINATES or not len(features):
        raise UserError(
            f"{where}: needs one or more boxes of {COORDINATES} numbers (got {list(boxes.shape)})"
        )
    # One NaN in a file would make the loss NaN much later.
    if not (np.isfinite(features).all() and np.isfinite(boxes).all()):
        raise UserError(f"{where}: features and boxes must be finite numbers")
    return record


def _floats(value: Any, where: str, name: str) -> np.ndarray:
    array = np.asarray(value)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise UserError(
            f"{where}: '{name}' must be numbers with two axes (got {array.dtype} {list(array.shape)})"
        )
    return array.astype(np.float32)


def confident(
    record: RegionRecord, least: float, min_regions: int, max_regions: int
) -> RegionRecord:
    """Return the regions above a confidence: ``min_regions`` to ``max_regions``, in the order of the file.

    UNITER's rule: the number of confident regions decides how many of the first ones are taken.
    """
    count = len(record.features)
    if record.confidence is not None:
        count = max(min_regions, int((record.confidence > least).sum()))
    return record.first(min(count, max_regions))


def batch_regions(records: Sequence[RegionRecord]) -> Regions:
    """Return the regions of several images, padded to the most; ValueError if widths of features differ."""
    widths = {record.features.shape[1] for record in records}
    if len(widths) > 1:
        raise ValueError(
            f"features of regions must have one width, but have {sorted(widths)}"
        )
    longest = max(len(record.features) for record in records)
    features = torch.zeros(len(records), longest, widths.pop())
    boxes = torch.zeros(len(records), longest, COORDINATES)
    mask = torch.zeros(len(records), longest, dtype=torch.bool)
    for row, record in enumerate(records):
        count = len(record.features)
        features[row, :count] = torch.from_numpy(record.features)
        boxes[row, :count] = torch.from_numpy(record.boxes)
        mask[row, :count] = True
    return Regions(features, boxes, mask)


def image_number(name: str) -> int | None:
    """Return the number at the end of the name of an image, such as 42 of COCO_val2014_000000000042.jpg."""
    match = re.search(r"(\d{1,18})$", Path(name).stem)
    return None if match is None else int(match[1])
