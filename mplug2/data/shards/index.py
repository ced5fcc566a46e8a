"""The index of packed shards: where each sample is, without reading any of them.

manifest.json        counts, and the size and SHA-256 of every file (`mplug2.runtime.manifest`)
index.safetensors    arrays over samples N with M media each:
    shard      int32 [N]           number of the tar file that holds the sample
    offset     int64 [N 1+M]       first byte of its annotations, and of each of its media
    size       int64 [N 1+M]       bytes of these
    suffixes   uint8 [N*M 8]       suffix of each media file, padded with zeros
    names      uint8 [bytes]       names of the media in the annotations, UTF-8, one after the other
    name_end   int64 [N*M]         where each name ends
    name_order int64 [N*M]         the numbers of the names, sorted by their bytes
00000.tar, ...       KEY.json (the annotations) and KEY.jpg or KEY.0.jpg, KEY.1.jpg of every sample; the
                     key is the number of the sample, which has no dot
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from mplug2.data.lazy_sequence import LazySequence
from mplug2.data.packed_file import PackedFile
from mplug2.data.rows import media_name
from mplug2.data.shards.reader import BLOCK, Shard, is_remote, join, read_file
from mplug2.runtime.manifest import MANIFEST, VERSION
from registry.errors import UserError

INDEX = "index.safetensors"
MAX_MANIFEST = 256 << 20  # bytes
MAX_INDEX = 8 << 30
SUFFIX_BYTES = 8
_ARRAYS = {
    "shard": (np.int32, 1),
    "offset": (np.int64, 2),
    "size": (np.int64, 2),
    "suffixes": (np.uint8, 2),
    "names": (np.uint8, 1),
    "name_end": (np.int64, 1),
    "name_order": (np.int64, 1),
}


def annotation_member(number: int) -> str:
    """Return the name of the annotations of a sample in its tar file."""
    return f"{number:09d}.json"


def media_member(number: int, view: int, num_views: int, suffix: str) -> str:
    """Return the name of one media file of a sample in its tar file; ``suffix`` begins with a dot."""
    middle = f".{view}" if num_views > 1 else ""
    return f"{number:09d}{middle}{suffix}"


@dataclass(frozen=True)
class ShardIndex:
    """The samples of a folder of shards, by number."""

    address: str
    shards: tuple[Shard, ...]
    arrays: dict[str, np.ndarray]
    checksum: str  # SHA-256 of the index file

    @classmethod
    def open(cls, address: str) -> ShardIndex:
        """Read manifest and index of a folder or address; UserError if they are absent or damaged."""
        location = join(address, MANIFEST)
        if not is_remote(address) and not Path(location).is_file():
            raise UserError(
                f"{location} does not exist. `mplug2 data shard` writes shards with a manifest"
            )
        files = _manifest_files(location, read_file(location, MAX_MANIFEST))
        content = read_file(join(address, INDEX), MAX_INDEX)
        checksum = hashlib.sha256(content).hexdigest()
        if INDEX not in files or files[INDEX]["sha256"] != checksum:
            raise UserError(
                f"{join(address, INDEX)}: the file is damaged (its SHA-256 is not that of {MANIFEST})"
            )
        shards = []
        for name in sorted(files):
            if name != INDEX:
                entry = files[name]
                shards.append(
                    Shard(join(address, name), entry["bytes"], entry["media"])
                )
        index = cls(
            address, tuple(shards), _arrays(join(address, INDEX), content), checksum
        )
        index._raise_if_outside()
        return index

    def __len__(self) -> int:
        return len(self.arrays["shard"])

    @property
    def num_views(self) -> int:
        """Media files of a sample: one, or the two of a pair."""
        return self.arrays["offset"].shape[1] - 1

    @cached_property
    def names(self) -> Sequence[str]:
        """The names of all media files in the order of their samples, as the annotations write them."""
        return _Names(self.arrays["names"], self.arrays["name_end"])

    def media_of(self, number: int) -> tuple[str, ...]:
        """Return the names of the media files of a sample."""
        first = number * self.num_views
        return tuple(self.names[first : first + self.num_views])

    def annotations(self, number: int) -> PackedFile:
        """Return the file with the annotations of a sample: a JSON list of the rows about its media."""
        return self._member(number, 0, annotation_member(number))

    def media_file(self, name: str) -> PackedFile | None:
        """Return the media file of a name, or None if no sample has it."""
        position = self._find(name)
        if position is None:
            return None
        number, view = divmod(position, self.num_views)
        padded_suffix = self.arrays["suffixes"][position].tobytes()
        suffix = padded_suffix.rstrip(b"\0").decode("utf-8", "replace")
        member = media_member(number, view, self.num_views, suffix)
        return self._member(number, 1 + view, member)

    def samples_with(self, names: Iterable[str]) -> list[int]:
        """Return the numbers of the samples that have a media file of one of these names."""
        numbers = []
        for name in names:
            position = self._find(name)
            if position is not None:
                numbers.append(position // self.num_views)
        return numbers

    def _find(self, name: str) -> int | None:
        """Return the position of a name among all names, or None, by bisection."""
        order = self.arrays["name_order"]
        index = bisect_left(
            order,
            name.encode(),
            key=lambda position: self.names[int(position)].encode(),
        )
        if index == len(order) or self.names[int(order[index])] != name:
            return None
        return int(order[index])

    def _member(self, number: int, column: int, name: str) -> PackedFile:
        shard = self.shards[int(self.arrays["shard"][number])]
        offset = int(self.arrays["offset"][number, column])
        return PackedFile(shard, name, offset, int(self.arrays["size"][number, column]))

    def _raise_if_outside(self) -> None:
        """Raise UserError unless every range is inside its shard, and every number inside its array."""
        arrays, location = self.arrays, join(self.address, INDEX)
        num_samples, num_names = len(self), len(self) * self.num_views
        shapes_agree = (
            arrays["offset"].shape
            == arrays["size"].shape
            == (num_samples, 1 + self.num_views)
            and arrays["suffixes"].shape == (num_names, SUFFIX_BYTES)
            and arrays["name_end"].shape == arrays["name_order"].shape == (num_names,)
            and num_names > 0
        )
        if not shapes_agree:
            raise UserError(
                f"{location}: the arrays must agree on the number of samples, but do not"
            )
        # Checked once at the start: a wrong number would read a wrong sample, or fail in the middle of a run.
        shards_fit = _within(arrays["shard"], len(self.shards))
        numbers_fit = shards_fit and _within(arrays["name_order"], num_names)
        ends = arrays["name_end"]
        names_fit = (
            ends[0] >= 0
            and ends[-1] == len(arrays["names"])
            and bool(np.all(np.diff(ends) >= 0))
        )
        if not (numbers_fit and names_fit):
            raise UserError(
                f"{location}: the numbers of shards and names must exist, but do not"
            )
        shard_sizes = np.array([shard.num_bytes for shard in self.shards])
        # (samples, 1): the size of the shard of each sample
        limits = shard_sizes[arrays["shard"]][:, None]
        offsets, sizes = arrays["offset"], arrays["size"]
        # A header is before each file. Not by the sum of offset and size, which could overflow.
        are_inside = (offsets >= BLOCK) & (sizes >= 0) & (sizes <= limits)
        if not np.all(are_inside & (offsets <= limits - sizes)):
            raise UserError(
                f"{location}: every file must be inside its shard, but one is not"
            )


class _Names(LazySequence[str]):
    """Texts in one array of bytes; millions of Python strings would take seconds and gigabytes."""

    def __init__(self, content: np.ndarray, ends: np.ndarray) -> None:
        self.content, self.ends = content, ends

    def __len__(self) -> int:
        return len(self.ends)

    def at(self, number: int) -> str:
        """Return a name."""
        start = int(self.ends[number - 1]) if number else 0
        content = self.content[start : int(self.ends[number])]
        return content.tobytes().decode("utf-8", "replace")


def _within(numbers: np.ndarray, limit: int) -> bool:
    return bool(np.all((numbers >= 0) & (numbers < limit)))


def _manifest_files(location: str, content: bytes) -> dict[str, dict[str, Any]]:
    """Return the entries of a manifest of shards, after checking what is used of them."""
    try:
        manifest = json.loads(content)
        version, files = manifest["version"], manifest["files"]
        for name, entry in files.items():
            counts = [entry["bytes"]]
            # Every file but the index is a shard, whose entry has the number of its media.
            if name != INDEX:
                counts.append(entry["media"])
            are_counts = all(type(count) is int and count >= 0 for count in counts)
            if not isinstance(entry["sha256"], str) or not are_counts:
                raise ValueError(f"the entry of {name} is incomplete")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{location} must be what `mplug2 data shard` wrote, but is not ({error})"
        ) from None
    if version != VERSION:
        raise UserError(
            f"{location}: must have version {VERSION} (got {version!r}). Update mplug2"
        )
    for name in files:
        # It is joined to the address: it must not lead out of the folder.
        media_name(name, location)
    return files  # type: ignore[no-any-return]


def _arrays(location: str, content: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of an index."""
    try:
        arrays = load(content)
    except SafetensorError as error:
        raise UserError(
            f"{location} must be a safetensors file, but is not ({error})"
        ) from None
    for name, (kind, dimensions) in _ARRAYS.items():
        array = arrays.get(name)
        if array is None or array.dtype != kind or array.ndim != dimensions:
            raise UserError(
                f"{location}: must have an array '{name}' of {kind.__name__}, but does not"
            )
    return arrays
