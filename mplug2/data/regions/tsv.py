"""The .tsv files of bottom-up attention: one line an image, arrays in base64."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

import numpy as np

from mplug2.data.regions.record import (
    COORDINATES,
    LARGEST_RECORD,
    RegionRecord,
    image_number,
    record_of,
)
from registry.errors import UserError

COLUMNS = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")


class TsvFile:
    """Lines with the columns image_id, image_w, image_h, num_boxes, boxes and features, separated by tabs.

    Boxes are pixels. A line is found by the number at the end of the image's name; the file is scanned once
    for the positions of its lines.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.starts: dict[int, int] = {}
        with path.open("rb") as file:
            start = 0
            for number, line in enumerate(file, 1):
                name = line[:64].partition(b"\t")[0]
                if not name.isdigit():
                    raise UserError(
                        f"{path}:{number}: must begin with the number of an image and a tab"
                    )
                self.starts[int(name)] = start
                start += len(line)

    def read(self, name: str) -> RegionRecord:
        """Return the regions of an image; raise `UserError`."""
        number = image_number(name)
        if number is None or number not in self.starts:
            raise UserError(f"{self.path}: there is no line of {name}")
        with self.path.open("rb") as file:
            file.seek(self.starts[number])
            line = file.readline(LARGEST_RECORD)
        return _record(
            line.rstrip(b"\r\n").split(b"\t"), f"{self.path}: image {number}"
        )


def _record(fields: list[bytes], where: str) -> RegionRecord:
    if len(fields) != len(COLUMNS):
        raise UserError(
            f"{where}: must have the columns {', '.join(COLUMNS)} (got {len(fields)} columns)"
        )
    try:
        width, height, count = (int(field) for field in fields[1:4])
        boxes, features = (
            np.frombuffer(base64.b64decode(field, validate=True), dtype=np.float32)
            for field in fields[4:]
        )
        if min(width, height, count) < 1:
            raise ValueError("sizes must be above 0")
        arrays = {
            "norm_bb": boxes.reshape(count, COORDINATES)
            / [width, height, width, height],
            "features": features.reshape(count, -1),
        }
    except (ValueError, binascii.Error) as error:
        raise UserError(f"{where}: not readable ({error})") from None
    return record_of(arrays, where)
