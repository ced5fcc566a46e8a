"""How fast samples are read from a folder and from shards of the same files, and how fast a run resumes."""

from __future__ import annotations

import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from mplug2.checking.stages import check_stages
from mplug2.data.batch import FailedSample, Sample, SampleRequest
from mplug2.data.batching import FixedBatches
from mplug2.data.build import build_source
from mplug2.data.byte_tokenizer import ByteTokenizer
from mplug2.data.loader import Loader
from mplug2.data.shards.index import (
    INDEX,
    SUFFIX_BYTES,
    annotation_member,
    media_member,
)
from mplug2.data.shards.pack import pack_shards
from mplug2.data.shards.reader import BLOCK
from mplug2.data.shards.writer import tar_member
from mplug2.data.sources.items import ItemSource
from mplug2.data.sources.shards import ShardSource
from mplug2.data.tasks.caption import RetrievalTask
from mplug2.runtime.manifest import file_entry, write_entries
from registry import StreamType, UserError, read_spec
from registry.sources import SHORT_SOURCE

FOLDER, SHARDS = "folder", "shards"
BATCH = 8  # samples that a resumed run reads first
EDGE = 16  # pixels of the synthetic images


@dataclass
class Reading:
    """CPU seconds of each round for reading the same files, by where they are; and what was read."""

    files: int
    frames: int
    num_bytes: int
    seconds: dict[str, list[float]] = field(
        default_factory=lambda: {FOLDER: [], SHARDS: []}
    )

    @property
    def ratio(self) -> float:
        """How many times as fast shards are as the folder: the median over the rounds."""
        rounds = zip(self.seconds[FOLDER], self.seconds[SHARDS], strict=True)
        return median(folder / shards for folder, shards in rounds)


def bench_reading(
    spec_file: str,
    overrides: Sequence[str],
    split: str = "train",
    max_files: int = 500,
    rounds: int = 3,
    on_progress: Callable[[str], object] = lambda step: None,
) -> Reading:
    """Read and decode files of a split from its folder and, packed, from shards, in interleaved rounds.

    Each sample is read as in training, in this process. Raises UserError for a spec whose split does not name
    a ``path``.
    """
    with tempfile.TemporaryDirectory(prefix="mplug2-bench-") as temporary:
        spec = read_spec(spec_file, overrides)
        types = check_stages(spec, required=True).raise_if_bad().types
        data = {**spec.data, **(spec.data.get(split) or {})}
        if not (
            isinstance(data.get("path"), str) and isinstance(data.get("media"), str)
        ):
            raise UserError(
                f"{spec.place('data')}: data.{split} must name its path and media, but does not"
            )
        on_progress("packing")
        packed = Path(temporary, "packed")
        pack_shards(Path(data["path"]), Path(data["media"]), packed, max_missing=0.5)
        sources: dict[str, ItemSource] = {}
        to_shards = [f"data.{split}.path=", f"data.{split}.shards={packed}"]
        for name, settings in ((FOLDER, []), (SHARDS, to_shards)):
            # Decoded files that are kept in memory would hide how they are read.
            changed = read_spec(
                spec_file, [*overrides, f"data.{split}.cache=0", *settings]
            )
            source = build_source(changed, types, SHORT_SOURCE, split, training=True)
            assert isinstance(source, ItemSource)
            sources[name] = source
        return _measure(
            sources[FOLDER], sources[SHARDS], max_files, rounds, on_progress
        )


def _measure(
    folder: ItemSource,
    shards: ItemSource,
    max_files: int,
    rounds: int,
    on_progress: Callable[[str], object],
) -> Reading:
    """Time both sources file by file, so that other work on the machine slows them equally."""
    reading = Reading(0, 0, 0)
    pairs: list[tuple[SampleRequest, tuple[Any, ...]]] = []
    for request in shards.requests(0, 0):
        numbers = folder.by_media.get(request.media, [])
        if numbers and len(pairs) < max_files:
            pairs.append((request, (folder.items[numbers[0]],)))
            reading.num_bytes += sum(
                os.path.getsize(str(folder.media.file(name))) for name in request.media
            )
    reading.files, reading.frames = len(pairs), len(pairs) * folder.media.frames
    for turn in range(rounds + 1):
        on_progress(f"round {turn} of {rounds}" if turn else "warm-up")
        seconds = dict.fromkeys(reading.seconds, 0.0)
        for request, items in pairs:
            # The seed of the request is that of the crops, so both decode and transform the same.
            seconds[FOLDER] += _cpu_seconds(partial(folder.read_items, request, items))
            seconds[SHARDS] += _cpu_seconds(partial(shards.read, request))
        # The first round takes the files from the disk: it does not count.
        if turn:
            for name, total in seconds.items():
                reading.seconds[name].append(total)
    return reading


def _cpu_seconds(read: Callable[[], Sample | FailedSample]) -> float:
    start = time.process_time()
    sample = read()
    seconds = time.process_time() - start
    if isinstance(sample, FailedSample):
        raise UserError(
            f"{sample.file} cannot be decoded. Run `mplug2 data check` first"
        )
    return seconds


def bench_resume(num_samples: int, seed: int = 0) -> tuple[float, float]:
    """Return wall and CPU seconds until a run has its first batch, resumed before its last samples.

    The shards are synthetic: of ``num_samples`` images only those of this batch exist, the rest of the tar
    file is a hole.
    """
    with tempfile.TemporaryDirectory(prefix="mplug2-bench-") as temporary:
        position = num_samples - BATCH
        order = np.random.default_rng([seed, 0]).permutation(num_samples)
        write_synthetic_shards(Path(temporary), num_samples, order[position:].tolist())
        wall, cpu = time.monotonic(), time.process_time()
        loader = resumed_loader(Path(temporary), position, seed)
        next(iter(loader))
        return time.monotonic() - wall, time.process_time() - cpu


def resumed_loader(folder: Path, position: int, seed: int) -> Loader:
    """Return a loader of packed images with captions that resumes at a position of the first epoch."""
    types = {"image": StreamType("image", ("V", 3, EDGE, EDGE))}
    task = RetrievalTask(tokenizer=ByteTokenizer(), types=types, training=True)
    source = ShardSource(str(folder), task, training=True, types=types)
    loader = Loader(
        source,
        source.collate,
        FixedBatches(BATCH, BATCH),
        seed=seed,
        max_bad_fraction=0,
    )
    loader.load_state_dict({"epoch": 0, "samples": position})
    return loader


def write_synthetic_shards(
    folder: Path, num_samples: int, existing: Iterable[int]
) -> None:
    """Write index, manifest and one tar file in which only some samples exist."""
    image = io.BytesIO()
    Image.new("RGB", (EDGE, EDGE)).save(image, "PNG")
    names = [f"{number:09d}.png" for number in range(num_samples)]

    def rows(number: int) -> bytes:
        row = {
            "image": names[number],
            "caption": "a ring",
            "question_id": f"{number:09d}",
        }
        return json.dumps([row]).encode()

    tar = folder / "00000.tar"
    example = _members(0, rows(0), image.getvalue())
    stride = len(b"".join(example))
    with tar.open("wb") as file:
        for number in existing:
            file.seek(number * stride)
            file.write(b"".join(_members(number, rows(number), image.getvalue())))
        file.truncate(num_samples * stride)
    starts = np.arange(num_samples, dtype=np.int64)[:, None] * stride
    offsets = starts + np.array([BLOCK, len(example[0]) + BLOCK])
    sizes = np.tile(
        np.array([len(rows(0)), len(image.getvalue())], np.int64), (num_samples, 1)
    )
    suffix = np.frombuffer(b".png".ljust(SUFFIX_BYTES, b"\0"), np.uint8)
    arrays = {
        "shard": np.zeros(num_samples, np.int32),
        "offset": offsets,
        "size": sizes,
        "suffixes": np.tile(suffix, (num_samples, 1)),
        "names": np.frombuffer("".join(names).encode(), np.uint8),
        "name_end": np.arange(1, num_samples + 1, dtype=np.int64) * len(names[0]),
        "name_order": np.arange(num_samples, dtype=np.int64),
    }
    save_file(arrays, folder / INDEX)
    # The checksum of a tar file is not used to read it, and hashing gigabytes of zeros takes seconds.
    entry = {"bytes": tar.stat().st_size, "sha256": "", "media": num_samples}
    write_entries(
        folder,
        {tar.name: entry, INDEX: file_entry(folder / INDEX)},
        {"mplug2": "bench"},
    )


def _members(number: int, rows: bytes, image: bytes) -> list[bytes]:
    return [
        tar_member(annotation_member(number), rows),
        tar_member(media_member(number, 0, 1, ".png"), image),
    ]


def lines(reading: Reading) -> list[tuple[str, str, str, str]]:
    """Return table rows: where the files are, and files, frames and megabytes for a second of one core."""
    rows = []
    for name, seconds in reading.seconds.items():
        typical = median(seconds)
        rows.append(
            (
                name,
                f"{reading.files / typical:.0f}",
                f"{reading.frames / typical:.0f}",
                f"{reading.num_bytes / typical / 1e6:.1f}",
            )
        )
    return rows
