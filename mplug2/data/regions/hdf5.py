"""HDF5 files of regions: a group for each image, or arrays over all images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mplug2.data.regions.record import (
    BOXES,
    FEATURES,
    LARGEST_RECORD,
    RegionRecord,
    image_number,
    record_of,
)
from registry.errors import UserError

IDS, ALL_FEATURES, ALL_BOXES = "image_ids", "image_features", "spatial_features"


class Hdf5File:
    """A group for each image with UNITER's names (``features``, ``norm_bb``, ...), or three arrays.

    These are ``image_ids`` [N], ``image_features`` [N R W] and ``spatial_features`` [N R 4 or more],
    fractions of the image; an image is found by the number at the end of its name. Needs the package h5py
    (`pip install mplug2[regions]`).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None  # opened by each process for itself
        self._rows: dict[int, int] | None = None

    def read(self, name: str) -> RegionRecord:
        """Return the regions of an image; raise `UserError`."""
        file = self._opened()
        where = f"{self.path}: {name}"
        if self._rows is not None:
            number = image_number(name)
            if number is None or number not in self._rows:
                raise UserError(f"{self.path}: there are no regions of {name}")
            row = self._rows[number]
            return record_of(
                {FEATURES: file[ALL_FEATURES][row], BOXES: file[ALL_BOXES][row]}, where
            )
        key = next((key for key in (name, Path(name).stem) if key in file), None)
        if key is None:
            raise UserError(f"{self.path}: there are no regions of {name}")
        arrays = {}
        for part, data in file[key].items():
            if getattr(data, "dtype", None) is None or data.dtype.kind not in "fiu":
                raise UserError(f"{where}: '{part}' must be an array of numbers")
            if data.nbytes > LARGEST_RECORD:
                raise UserError(
                    f"{where}: '{part}' must have at most {LARGEST_RECORD} bytes"
                )
            arrays[part] = data[()]
        return record_of(arrays, where)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_file": None, "_rows": None}

    def _opened(self) -> Any:
        if self._file is not None:
            return self._file
        try:
            import h5py
        except ImportError:
            raise UserError(
                f"{self.path}: HDF5 files need the package h5py. Run `pip install mplug2[regions]`"
            ) from None
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise UserError(
                f"{self.path}: not a readable HDF5 file ({error})"
            ) from None
        if IDS in self._file:
            self._rows = {
                int(number): row for row, number in enumerate(self._file[IDS][()])
            }
        return self._file
