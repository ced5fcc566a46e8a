"""Folders of .npz files of regions, one for each image."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from mplug2.data.regions.record import LARGEST_RECORD, RegionRecord, record_of
from registry.errors import UserError


class NpzFolder:
    """One .npz file for each image, named as the image: UNITER's form before it is packed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> RegionRecord:
        """Return the regions of an image; raise `UserError`."""
        file = self.folder / f"{Path(name).stem}.npz"
        if not file.is_file():
            raise UserError(f"{file}: there are no regions of {name}")
        if file.stat().st_size > LARGEST_RECORD:
            raise UserError(f"{file}: must have at most {LARGEST_RECORD} bytes")
        return record_of(read_npz(file.read_bytes(), str(file)), str(file))


def read_npz(content: bytes, where: str) -> dict[str, Any]:
    """Return the arrays of an .npz file; `UserError` if one holds objects, or unpacks to too many bytes."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > LARGEST_RECORD:
            raise UserError(
                f"{where}: must unpack to at most {LARGEST_RECORD} bytes (got {unpacked})"
            )
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (
        ValueError,
        OSError,
        EOFError,
        KeyError,
        zipfile.BadZipFile,
        NotImplementedError,
    ) as error:
        raise UserError(f"{where}: not a readable .npz of numbers ({error})") from None
