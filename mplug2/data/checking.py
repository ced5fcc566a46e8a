"""Try every file and every text of a split before a run depends on it, and list what cannot be read."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mplug2.data.batch import FailedSample, Sample
from mplug2.data.build import build_source
from mplug2.data.media.folder import UNREADABLE
from mplug2.data.media.image import read_image
from mplug2.data.media.pixel_file import MediaValue
from mplug2.data.media.video import read_frames
from mplug2.data.sources.items import ItemSource
from mplug2.data.sources.source import Source
from mplug2.data.unknown_words import WordCounts, count_words
from mplug2.runtime.atomic_write import atomic_write
from registry.sources import SHORT_SOURCE

if TYPE_CHECKING:
    from registry import Spec, StreamType

ENCODED_TOGETHER = 64  # items of text
Entry = TypeVar("Entry")
Size = tuple[int, int]  # width and height in pixels


@dataclass(frozen=True)
class Finding:
    """A file that cannot be decoded (``usable`` false), or that lost frames to broken packets, and why."""

    video_id: str
    file: str
    usable: bool
    reason: str


Decoded = tuple[Finding | None, Size | None]  # of one file


@dataclass(frozen=True)
class Checked:
    """What checking a split showed; ``exclude_list`` is the list that was written, if one was asked for."""

    files: int
    findings: list[Finding]
    # Of what was decoded, by the names of the files.
    sizes: dict[str, Size] = field(default_factory=dict)
    exclude_list: Path | None = None
    samples: int = 0
    items: int = 0
    # What the task counts: labels, refused rows.
    counts: dict[str, int] = field(default_factory=dict)
    # Items with left or right although their media may be mirrored without them.
    sided_items: int = 0
    words: WordCounts = field(default_factory=WordCounts)  # of a part of the samples
    # Items that their files contradict, such as a box outside its image.
    item_problems: tuple[str, ...] = ()

    @property
    def bad(self) -> list[Finding]:
        """The files that cannot be used."""
        return [finding for finding in self.findings if not finding.usable]


def check_split(
    spec: Spec,
    types: dict[str, StreamType],
    split: str,
    *,
    source: str = SHORT_SOURCE,
    exclude_list: str | Path | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> Checked:
    """Decode every file of a split from first to last frame; of text alone, encode every item.

    ``exclude_list`` gets a JSON line for each unusable file (empty if there is none); the source's argument
    of that name leaves them out. Damaged files that still decode are findings, too, but are not listed there.
    """
    # The list that may be there already must hide nothing.
    samples = build_source(spec, types, source, split, without=("exclude_list",))
    names = samples.names()
    if names and isinstance(samples, ItemSource):
        kind = samples.media.kind
        checked = check_files(
            names, samples.files(), kind=kind, workers=workers, progress=progress
        )
        checked = replace(
            checked, item_problems=tuple(_item_problems(samples, checked.sizes))
        )
    else:
        checked = Checked(len(names), _encode_all(samples, progress))
    count = getattr(samples.task, "counts", None)
    checked = replace(
        checked,
        samples=len(samples),
        items=len(samples.items),
        counts={} if count is None else count(samples.items),
        sided_items=_count_sided_items(samples),
        words=count_words(samples),
    )
    if exclude_list is None or not names:
        return checked
    path = Path(exclude_list)
    with atomic_write(path) as file:
        for finding in checked.bad:
            line = {
                "video_id": finding.video_id,
                "file": finding.file,
                "reason": finding.reason,
            }
            file.write(json.dumps(line) + "\n")
    return replace(checked, exclude_list=path)


def _item_problems(source: ItemSource, sizes: Mapping[str, Size]) -> Iterator[str]:
    """Yield why items cannot be about their files, by the sizes of these."""
    problem_of = getattr(source.task, "item_problem", None)
    if problem_of is None:
        return
    for names, numbers in source.by_media.items():
        # It cannot be decoded, which is a finding.
        if names[0] not in sizes:
            continue
        for number in numbers:
            problem = problem_of(source.items[number], *sizes[names[0]])
            if problem is not None:
                yield problem


def _count_sided_items(source: Source) -> int:
    """Return how many items are no longer true if `flip: media` mirrors their media."""
    mirror = getattr(source.task, "mirror", None)
    if mirror is None or getattr(source, "flip", "none") != "media":
        return 0
    return sum(mirror(item) != item for item in source.items)


def _encode_all(source: Source, progress: bool) -> list[Finding]:
    """Read and encode every sample, so that a mistake in any of them is reported before training.

    Return the files that cannot be read.
    """
    findings = []
    requests = source.requests(0, 0)
    starts = range(0, len(requests), ENCODED_TOGETHER)
    for start in _watch(starts, len(starts), progress, "encoding"):
        together = requests[start : start + ENCODED_TOGETHER]
        read = [source.read(request) for request in together]
        samples = [sample for sample in read if isinstance(sample, Sample)]
        if samples:
            source.collate(samples)
        for sample in read:
            if isinstance(sample, FailedSample):
                name = " ".join(sample.request.media)
                findings.append(
                    Finding(name, sample.file, usable=False, reason=sample.reason)
                )
    return findings


def check_files(
    names: Sequence[str],
    files: Sequence[MediaValue],
    *,
    kind: str = "frames",
    workers: int | None = None,
    progress: bool = False,
) -> Checked:
    """Decode some files on several processes: videos, or images for ``kind='image'``; ``names`` are their
    ids."""
    check = partial(_check, kind)
    workers = min(workers or os.cpu_count() or 1, max(len(files) // 8, 1))
    if workers == 1:
        checked = _watch(map(check, names, files), len(files), progress, "decoding")
        return _collected(names, checked)
    # Spawned, for forking a process with threads (torch, a progress bar) may hang.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        decoded = pool.map(check, names, files, chunksize=8)
        return _collected(names, _watch(decoded, len(files), progress, "decoding"))


def _collected(names: Sequence[str], decoded: Iterable[Decoded]) -> Checked:
    """Return what decoding some files showed."""
    checked = Checked(len(names), [])
    for name, (finding, size) in zip(names, decoded, strict=True):
        if finding is not None:
            checked.findings.append(finding)
        if size is not None:
            checked.sizes[name] = size
    return checked


def _watch(
    entries: Iterable[Entry], total: int, progress: bool, description: str
) -> Iterable[Entry]:
    if not progress:
        return entries
    from rich.progress import track

    return track(entries, total=total, description=description)


def _check(kind: str, name: str, file: MediaValue) -> Decoded:
    try:
        if kind == "image":
            height, width, _ = read_image(file).shape
            return None, (width, height)
        # The last frame alone is kept, but all before it are decoded.
        clip = read_frames(file, lambda total: [total - 1], threads=1)
    except UNREADABLE as error:
        return Finding(name, str(file), False, str(error)), None
    _, height, width, _ = clip.frames.shape
    if clip.errors:
        reason = f"{file} is damaged: {clip.errors} broken packets, {clip.total} frames decode"
        return Finding(name, str(file), True, reason), (width, height)
    return None, (width, height)
