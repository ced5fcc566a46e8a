"""Decode every file of a split before a run depends on it, and list what cannot be read."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mplug2.data.media.image import ImageError, read_image
from mplug2.data.media.video import VideoError, read_frames
from mplug2.runtime.atomic_write import atomic_write
from registry.training import SHORT_SOURCE

if TYPE_CHECKING:
    from registry import Spec, StreamType


@dataclass(frozen=True)
class Finding:
    """A file that cannot be decoded (``usable`` false), or that lost frames to broken packets, and why."""

    video_id: str
    file: str
    usable: bool
    reason: str


@dataclass(frozen=True)
class Checked:
    """What decoding a split showed; ``quarantine`` is the list that was written, if one was asked for."""

    files: int
    findings: list[Finding]
    quarantine: Path | None = None

    @property
    def bad(self) -> list[Finding]:
        """The files that cannot be used."""
        return [finding for finding in self.findings if not finding.usable]


def check_media(
    spec: Spec,
    types: dict[str, StreamType],
    split: str,
    *,
    quarantine: str | Path | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> Checked:
    """Decode every file of a split from first to last frame.

    ``quarantine`` gets a JSON line for each unusable file (empty if there is none); the reader's argument of
    that name leaves them out. Damaged files that still decode are findings, too, but are not listed there.
    """
    from mplug2.data.build import build_source

    # The list that may be there already must hide nothing.
    reader = build_source(spec, types, SHORT_SOURCE, split, without=("quarantine",))
    checked = check_files(
        reader.names(), reader.files(), kind=reader.media.kind, workers=workers, progress=progress
    )
    if quarantine is None:
        return checked
    path = Path(quarantine)
    lines = [{"video_id": one.video_id, "file": one.file, "reason": one.reason} for one in checked.bad]
    with atomic_write(path) as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    return Checked(checked.files, checked.findings, path)


def check_files(
    names: Sequence[str],
    files: Sequence[Path],
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
        return Checked(len(files), _found(_watch(map(check, names, files), len(files), progress)))
    # spawned, for forking a process with threads (torch, a progress bar) may hang
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        return Checked(
            len(files), _found(_watch(pool.map(check, names, files, chunksize=8), len(files), progress))
        )


def _found(findings: Iterable[Finding | None]) -> list[Finding]:
    return [finding for finding in findings if finding is not None]


def _watch(findings: Iterable[Finding | None], total: int, progress: bool) -> Iterable[Finding | None]:
    if not progress:
        return findings
    from rich.progress import track

    return track(findings, total=total, description="decoding")


def _check(kind: str, name: str, file: Path) -> Finding | None:
    try:
        if kind == "image":
            read_image(file)
            return None
        clip = read_frames(file, lambda total: [total - 1], threads=1)
    except (VideoError, ImageError) as error:
        return Finding(name, str(file), False, str(error))
    if clip.errors:
        return Finding(
            name,
            str(file),
            True,
            f"{file} is damaged: {clip.errors} broken packets, {clip.total} frames decode",
        )
    return None
