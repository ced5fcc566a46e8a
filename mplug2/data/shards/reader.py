"""Bytes of shards on a local disk, or through fsspec at any other address."""

from __future__ import annotations

import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mplug2.data.files import read_bytes
from mplug2.data.packed_file import PackedFileError
from registry.errors import UserError

# A tar file consists of these; each member begins with a header of one block.
BLOCK = tarfile.BLOCKSIZE
MARK = "://"  # in addresses that fsspec reads


def is_remote(address: str) -> bool:
    """Return whether an address is not a path of this machine."""
    return MARK in address


def join(address: str, name: str) -> str:
    """Return the address of a file in a folder."""
    if is_remote(address):
        return f"{address.rstrip('/')}/{name}"
    return os.path.join(address, name)


def read_file(address: str, limit: int) -> bytes:
    """Return a complete file; raise UserError if it cannot be read or has more than ``limit`` bytes."""
    if not is_remote(address):
        # The memory for as many bytes as may be read is taken at once.
        size = os.path.getsize(address) if os.path.isfile(address) else 0
        return read_bytes(Path(address), min(limit, size))
    try:
        content = _remote_range(address, 0, limit + 1)
    except Exception as error:
        # Each file system of fsspec raises other exceptions.
        raise UserError(f"{address} cannot be read ({_reason(error)})") from None
    if len(content) > limit:
        raise UserError(
            f"{address} must have at most {limit} bytes, but has more; is it the right file?"
        )
    return content


@dataclass(frozen=True)
class Shard:
    """One tar file: its address, its size in bytes as the manifest lists it, and its media files."""

    address: str
    num_bytes: int
    num_files: int

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return the content of the member ``name``, ``size`` bytes from ``offset`` on.

        The header before it must be that of a regular file of this name and size: an index of another shard,
        or a damaged one, is noticed. Raises PackedFileError.
        """
        start = offset - BLOCK
        try:
            content = self._read_range(start, size + BLOCK)
            header = tarfile.TarInfo.frombuf(
                content[:BLOCK], "utf-8", "surrogateescape"
            )
        except UserError:
            raise
        except FileNotFoundError:
            raise PackedFileError(
                f"the shard {self.address} does not exist", self
            ) from None
        except tarfile.HeaderError as error:
            raise PackedFileError(
                f"{self.address}: no file begins at byte {start} ({error})"
            ) from None
        except Exception as error:
            # Each file system of fsspec raises other exceptions.
            message = f"the shard {self.address} cannot be read ({_reason(error)})"
            raise PackedFileError(message, self) from None
        if not header.isreg() or header.name != name or header.size != size:
            raise PackedFileError(
                f"{self.address}: byte {start} must begin the file {name} of {size} bytes, as the index "
                f"lists (got {header.name!r} of {header.size} bytes). Pack the shards again"
            )
        return content[BLOCK:]

    def _read_range(self, start: int, size: int) -> bytes:
        """Return some bytes; PackedFileError if the shard has another size than its manifest lists."""
        if is_remote(self.address):
            content = _remote_range(self.address, start, start + size)
            if len(content) < size:
                raise self._damaged(f"ends before byte {start + size}")
            return content
        # Opened for each read: a file that was opened before a worker was forked would be shared with it.
        handle = os.open(self.address, os.O_RDONLY)
        try:
            num_bytes = os.fstat(handle).st_size
            if num_bytes != self.num_bytes:
                raise self._damaged(f"has {num_bytes} bytes")
            content = os.pread(handle, size, start)
        finally:
            os.close(handle)
        if len(content) < size:
            raise self._damaged(f"ends before byte {start + size}")
        return content

    def _damaged(self, what: str) -> PackedFileError:
        message = f"the shard {self.address} {what}, but its manifest lists {self.num_bytes}. Copy it again"
        return PackedFileError(message, self)


def _remote_range(address: str, start: int, end: int) -> bytes:
    """Return the bytes from ``start`` to ``end``, fewer if the file is shorter."""
    files, path = _file_system(address)
    content: bytes = files.cat_file(path, start=start, end=end)
    return content


def _file_system(address: str) -> tuple[Any, str]:
    """Return the file system of an address and the path in it; UserError if its package is missing."""
    protocol = address.partition(MARK)[0]
    try:
        from fsspec.core import url_to_fs

        # fsspec keeps the connection, one for each process.
        return url_to_fs(address)  # type: ignore[no-any-return]
    except ImportError as error:
        raise UserError(
            f"{address}: addresses of {protocol} need another package ({error}). "
            "Install mplug2[object_store] for s3, or the package that fsspec names"
        ) from None
    except ValueError as error:
        raise UserError(
            f"{address}: fsspec does not read {protocol}{MARK} ({error}). Use a path"
        ) from None


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
