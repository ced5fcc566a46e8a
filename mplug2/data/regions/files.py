"""Files with the regions of many images, opened by their form: a folder, .jsonl, .tsv, .h5 or an LMDB."""

from __future__ import annotations

from pathlib import Path

from mplug2.data.regions.boxes import BoxFile
from mplug2.data.regions.hdf5 import Hdf5File
from mplug2.data.regions.lmdb import LmdbFolder
from mplug2.data.regions.npz import NpzFolder
from mplug2.data.regions.record import RegionStore
from mplug2.data.regions.tsv import TsvFile
from registry.errors import UserError

FORMS = "a folder of .npz files, an LMDB folder, or a file .jsonl, .tsv, .h5 or .hdf5"


def open_regions(path: str, size: int = 0) -> RegionStore:
    """Open files of regions by their form; raise `UserError` if they do not exist or cannot be read.

    ``size``: the edge of the images in pixels, for boxes in pixels of a .jsonl file.
    """
    file = Path(path)
    if not file.exists():
        raise UserError(f"{path}: the file or folder of regions must exist")
    if file.is_dir():
        if (file / "data.mdb").is_file():
            return LmdbFolder(file)
        return NpzFolder(file)
    suffix = file.suffix.lower()
    if suffix in (".h5", ".hdf5"):
        return Hdf5File(file)
    if suffix == ".jsonl":
        return BoxFile(file, size)
    if suffix == ".tsv":
        return TsvFile(file)
    raise UserError(f"{path}: regions must be {FORMS}")
