"""Tar files of samples, and the arrays of their index."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors.numpy import save_file

from mplug2 import __version__
from mplug2.data.packed_file import MAX_BYTES
from mplug2.data.shards.index import (
    INDEX,
    SUFFIX_BYTES,
    annotation_member,
    media_member,
)
from mplug2.runtime.manifest import CHUNK_BYTES, file_entry, sync, write_entries
from registry.errors import UserError


class ShardWriter:
    """Writes samples into the tar files of a new folder; `finish` adds index and manifest.

    The same samples give the same bytes: members have no date and no owner. A shard ends with the sample that
    takes it to ``shard_bytes``.
    """

    def __init__(self, folder: Path, num_views: int, shard_bytes: int) -> None:
        self.folder, self.num_views, self.shard_bytes = folder, num_views, shard_bytes
        self._entries: dict[str, dict[str, Any]] = {}
        self._shard: _TarWriter | None = None
        self._media_in_shard = 0
        self._shard_of: list[int] = []
        self._offsets: list[list[int]] = []
        self._sizes: list[list[int]] = []
        self._names: list[bytes] = []
        self._suffixes: list[bytes] = []

    def add(
        self,
        names: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        files: Sequence[Path],
    ) -> None:
        """Write one sample: the names of its media, the rows about them, and where the files are.

        Raises UserError for a file that is too large to be read into memory.
        """
        number = len(self._shard_of)
        shard = self._shard or _TarWriter(self.folder / f"{len(self._entries):05d}.tar")
        self._shard = shard
        content = json.dumps(list(rows), ensure_ascii=False).encode()
        offsets = [
            shard.add(annotation_member(number), io.BytesIO(content), len(content))
        ]
        sizes = [len(content)]
        for view, file in enumerate(files):
            size, suffix = file.stat().st_size, file.suffix.lower()
            if size > MAX_BYTES or len(suffix.encode()) > SUFFIX_BYTES:
                raise UserError(
                    f"{file} must have at most {MAX_BYTES} bytes and a suffix of {SUFFIX_BYTES} (got {size} "
                    f"bytes, {suffix!r}). Make it smaller, or leave it out of the annotations"
                )
            member = media_member(number, view, self.num_views, suffix)
            with file.open("rb") as source:
                offsets.append(shard.add(member, source, size))
            sizes.append(size)
            self._suffixes.append(suffix.encode())
        self._names += [name.encode() for name in names]
        self._shard_of.append(len(self._entries))
        self._offsets.append(offsets)
        self._sizes.append(sizes)
        self._media_in_shard += len(files)
        # After a sample: a sample is never in two shards.
        if shard.size >= self.shard_bytes:
            self._end_shard()

    def _end_shard(self) -> None:
        if self._shard is None:
            return
        entry = self._shard.finish()
        self._entries[self._shard.path.name] = {**entry, "media": self._media_in_shard}
        self._shard, self._media_in_shard = None, 0

    def close(self) -> None:
        """Close the tar file that is being written, if any, after a failure."""
        if self._shard is not None:
            self._shard.close()

    def finish(self) -> int:
        """Write index and manifest, and return the number of shards."""
        self._end_shard()
        num_shards = len(self._entries)
        index = self.folder / INDEX
        save_file(self._arrays(), index)
        sync(index)
        entries = {**self._entries, INDEX: file_entry(index)}
        counts = {"samples": len(self._shard_of), "media": len(self._names)}
        write_entries(self.folder, entries, {"mplug2": __version__, **counts})
        sync(self.folder)
        return num_shards

    def _arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that `mplug2.data.shards.index` describes."""
        # By their bytes, as the bisection of the reader compares them.
        order = sorted(range(len(self._names)), key=self._names.__getitem__)
        suffixes = np.zeros((len(self._suffixes), SUFFIX_BYTES), np.uint8)
        for row, suffix in enumerate(self._suffixes):
            suffixes[row, : len(suffix)] = np.frombuffer(suffix, np.uint8)
        lengths = [len(name) for name in self._names]
        return {
            "shard": np.array(self._shard_of, np.int32),
            "offset": np.array(self._offsets, np.int64),
            "size": np.array(self._sizes, np.int64),
            "suffixes": suffixes,
            "names": np.frombuffer(b"".join(self._names), np.uint8),
            "name_end": np.cumsum(lengths, dtype=np.int64),
            "name_order": np.array(order, np.int64),
        }


def tar_member(name: str, content: bytes) -> bytes:
    """Return a regular file in the form of a tar file: header, content, and zeros to the end of a block."""
    return _header(name, len(content)) + content + _padding(len(content))


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    # Names are short and sizes below 8 GB, so the header is one block.
    return info.tobuf(tarfile.USTAR_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


class _TarWriter:
    """One tar file. It is hashed while it is written: reading terabytes again would take hours."""

    def __init__(self, path: Path) -> None:
        self.path, self.size = path, 0
        self._file = path.open("wb")
        self._digest = hashlib.sha256()

    def add(self, name: str, content: BinaryIO, size: int) -> int:
        """Write a regular file of ``size`` bytes; return the offset of its first byte."""
        self._write(_header(name, size))
        start, remaining = self.size, size
        while remaining:
            chunk = content.read(min(CHUNK_BYTES, remaining))
            if not chunk:
                raise UserError(
                    f"{name}: the file became shorter while it was packed. Pack again"
                )
            self._write(chunk)
            remaining -= len(chunk)
        self._write(_padding(size))
        return start

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self._digest.update(content)
        self.size += len(content)

    def finish(self) -> dict[str, Any]:
        """End the file, and return its size and SHA-256 once it is on the disk."""
        # Two empty blocks end a tar file.
        self._write(bytes(2 * tarfile.BLOCKSIZE))
        self.close()
        sync(self.path)
        return {"bytes": self.size, "sha256": self._digest.hexdigest()}

    def close(self) -> None:
        """Close the file."""
        self._file.close()
