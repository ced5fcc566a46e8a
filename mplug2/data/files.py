"""Read complete files, plain or .gz, up to a size limit."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from mplug2.data.packed_file import PackedFile
from registry.errors import UserError

LIMIT = 2 << 30  # bytes of one file once it is unpacked


def read_bytes(path: Path | PackedFile, limit: int = LIMIT) -> bytes:
    """Return what a file holds, unpacked where it is .gz; UserError past ``limit`` bytes.

    Pipes and devices are refused: they may never end.
    """
    if isinstance(path, PackedFile):
        return path.read(limit)
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "a pipe or a device"
        raise UserError(f"{path} must be a regular file, but is {what}")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error})") from None
    if len(content) > limit:
        raise UserError(
            f"{path} must hold at most {limit} bytes, but unpacks to more; is it the right file?"
        )
    return content


def read_text(path: Path | PackedFile) -> str:
    """Return the text of a UTF-8 file."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} must be UTF-8 text, but is not ({error})") from None
