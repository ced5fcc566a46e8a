"""Files inside larger ones: a name, and the range of bytes that holds the content."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Protocol

from registry.errors import UserError

MAX_BYTES = 1 << 30  # of one file: it is read into memory


class PackedFileError(UserError):
    """A packed file cannot be read; ``archive`` is the archive if all of it is unusable."""

    def __init__(self, message: str, archive: Archive | None = None) -> None:
        super().__init__(message)
        self.archive = archive


class Archive(Protocol):
    """What holds packed files; it is hashable, and pickled for the processes that read."""

    @property
    def address(self) -> str:
        """A path or an address such as s3://bucket/shard.tar."""
        ...

    @property
    def num_files(self) -> int:
        """Number of media files that cannot be read if the archive is missing."""
        ...

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return the content of the file ``name``, ``size`` bytes from ``offset`` on.

        Raises PackedFileError if the archive is missing or shorter, or if another file is there.
        """
        ...


@dataclass(frozen=True)
class PackedFile:
    """One file inside an archive. Readers use it in the same way as a path: by suffix, and by its bytes."""

    archive: Archive
    name: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.archive.address}/{self.name}"

    @property
    def suffix(self) -> str:
        """The last suffix of its name."""
        return PurePosixPath(self.name).suffix

    @property
    def suffixes(self) -> list[str]:
        """All suffixes of its name."""
        return PurePosixPath(self.name).suffixes

    def is_dir(self) -> bool:
        """Return False: an archive has no folders of media."""
        return False

    def read(self, limit: int = MAX_BYTES) -> bytes:
        """Return the content; PackedFileError above ``limit`` bytes, or if the archive is damaged."""
        if self.size > min(limit, MAX_BYTES):
            raise PackedFileError(
                f"{self} must have at most {min(limit, MAX_BYTES)} bytes (got {self.size}). Make it smaller"
            )
        return _content(self)


@lru_cache(maxsize=1)
def _content(file: PackedFile) -> bytes:
    # A video is opened twice, to be scanned and to be decoded: the second time must not read it again.
    return file.archive.read(file.name, file.offset, file.size)


MediaFile = Path | PackedFile


def byte_source(file: MediaFile, limit: int = MAX_BYTES) -> str | BytesIO:
    """Return what a decoder opens: the path of a file on disk, or the bytes of a packed one."""
    return BytesIO(file.read(limit)) if isinstance(file, PackedFile) else str(file)
