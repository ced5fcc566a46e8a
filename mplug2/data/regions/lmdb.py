"""UNITER's LMDB of regions: an image's name to its arrays, as .npz or packed by msgpack."""

from __future__ import annotations

import importlib
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mplug2.data.regions.npz import read_npz
from mplug2.data.regions.record import LARGEST_RECORD, RegionRecord, record_of
from registry.errors import UserError

ZIP, LZ4 = b"PK", b"\x04\x22\x4d\x18"
KINDS = "fiu"  # dtypes that an array may have


class LmdbFolder:
    """A folder ``data.mdb``; keys are names of .npz files, values such files or msgpack, perhaps in lz4.

    msgpack holds arrays in the form of msgpack-numpy; arrays of objects are refused. Needs the packages
    lmdb, lz4 and msgpack (`pip install mplug2[regions]`).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> RegionRecord:
        """Return the regions of an image; raise `UserError`."""
        where = f"{self.folder}: {name}"
        with _environment(self.folder, os.getpid()).begin() as transaction:
            # UNITER's keys are the names of its .npz files; others use the image's name.
            for key in (name, f"{Path(name).stem}.npz"):
                value = transaction.get(key.encode())
                if value is not None:
                    return record_of(_arrays(bytes(value), where), where)
        raise UserError(f"{self.folder}: there are no regions of {name}")


@lru_cache(maxsize=64)
def _environment(folder: Path, process: int) -> Any:
    """Open an LMDB once in each process: it refuses to be opened twice, and does not survive a fork."""
    lmdb = _library("lmdb", str(folder))
    try:
        return lmdb.open(str(folder), readonly=True, create=False, lock=False)
    except lmdb.Error as error:
        raise UserError(f"{folder}: not a readable LMDB ({error})") from None


def _arrays(value: bytes, where: str) -> dict[str, Any]:
    if len(value) > LARGEST_RECORD:
        raise UserError(f"{where}: must have at most {LARGEST_RECORD} bytes")
    if value[: len(LZ4)] == LZ4:
        value = _unpacked(value, where)
    if value[: len(ZIP)] == ZIP:
        return read_npz(value, where)
    msgpack = _library("msgpack", where)
    try:
        arrays = msgpack.unpackb(
            value, raw=False, object_hook=_array, max_bin_len=LARGEST_RECORD
        )
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except Exception as error:
        # One of several, by what is damaged.
        raise UserError(
            f"{where}: not readable as msgpack ({type(error).__name__}: {error})"
        ) from None
    if not isinstance(arrays, dict):
        raise UserError(
            f"{where}: must be a mapping of names to arrays (got {type(arrays).__name__})"
        )
    return arrays


def _unpacked(value: bytes, where: str) -> bytes:
    frame = _library("lz4.frame", where)
    try:
        decompressor = frame.LZ4FrameDecompressor()
        content: bytes = decompressor.decompress(value, max_length=LARGEST_RECORD)
    except (RuntimeError, EOFError) as error:
        raise UserError(f"{where}: not readable as lz4 ({error})") from None
    if not decompressor.eof:
        raise UserError(
            f"{where}: must unpack to at most {LARGEST_RECORD} bytes, and is complete"
        )
    return content


def _array(packed: dict[Any, Any]) -> Any:
    """Return the array that msgpack-numpy wrote as a mapping; any other mapping unchanged."""
    # Older versions of msgpack-numpy wrote keys as bytes.
    fields = {}
    for key, value in packed.items():
        fields[key.decode() if isinstance(key, bytes) else key] = value
    if "nd" not in fields:
        return packed
    kind = fields.get("type")
    name = kind.decode() if isinstance(kind, bytes) else kind
    dtype = np.dtype(name) if isinstance(name, str) and not fields.get("kind") else None
    if dtype is None or dtype.kind not in KINDS:
        raise UserError(f"an array must hold numbers (got the type {name!r})")
    values = np.frombuffer(fields["data"], dtype=dtype)
    return values.reshape(fields["shape"]) if fields["nd"] else values[0]


def _library(name: str, where: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise UserError(
            f"{where}: needs the package {package}. Run `pip install mplug2[regions]`"
        ) from None
