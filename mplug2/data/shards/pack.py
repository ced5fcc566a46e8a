"""Pack annotations and their media into shards: tar files in the WebDataset layout, with an index."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mplug2.data.formats.find_files import VIDEOS, walk
from mplug2.data.labelled_media import IMAGES
from mplug2.data.media.folder import find_media
from mplug2.data.rows import fields, names, read_rows
from mplug2.data.shards.writer import ShardWriter
from mplug2.runtime.manifest import sync
from registry.errors import UserError

SHOWN = 5  # missing files that a message lists
VIDEO_KEY = "video_id"
_FORM = "a line must be a JSON object that names its media"


@dataclass
class Packed:
    """What was written: the folder, its counts, and the media that are absent."""

    folder: Path
    shards: int = 0
    samples: int = 0
    rows: int = 0
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class MediaRows:
    """The rows about one file, or about the two of a pair, and where the files are."""

    media: tuple[str, ...]
    files: tuple[Path, ...]
    rows: list[dict[str, Any]]


Watch = Callable[[Sequence[MediaRows]], Iterable[MediaRows]]


def pack_shards(
    annotations: Path,
    media: Path,
    out: Path,
    *,
    shard_bytes: int = 500_000_000,
    max_missing: float = 0.01,
    replace: bool = False,
    watch: Watch = iter,
) -> Packed:
    """Write the shards of an annotation file of JSON lines, or of a folder that has a folder for each class.

    A sample is a media file with all rows about it; samples have the order in which the annotations first
    name their files. A row without ``question_id`` gets its number in the file, as when the file itself is
    read. A shard ends with the sample that takes it to ``shard_bytes``. The folder ``out`` is complete or
    does not exist. UserError if more than the fraction ``max_missing`` of the samples lacks a file; fewer are
    left out and listed. ``watch`` passes on the samples while they are packed, to show progress.
    """
    if not media.is_dir():
        raise UserError(
            f"--media {media} must be the folder of the media files, but does not exist"
        )
    if out.exists() and not replace:
        raise UserError(
            f"{out} already exists. Use --overwrite to replace it, or another --out"
        )
    packed = Packed(out)
    samples = []
    for sample in _samples(annotations, media):
        absent = [str(file) for file in sample.files if not file.is_file()]
        packed.missing += absent
        if not absent:
            samples.append(sample)
    _raise_if_missing(packed.missing, len(samples), max_missing, media)
    temporary = out.with_name(f"{out.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        packed.shards = _write(samples, temporary, shard_bytes, watch)
        _move(temporary, out)
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error})") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    packed.samples = len(samples)
    packed.rows = sum(len(sample.rows) for sample in samples)
    return packed


def _write(
    samples: Sequence[MediaRows], folder: Path, shard_bytes: int, watch: Watch
) -> int:
    writer = ShardWriter(folder, len(samples[0].media), shard_bytes)
    try:
        for sample in watch(samples):
            writer.add(sample.media, sample.rows, sample.files)
        return writer.finish()
    finally:
        writer.close()


def _move(temporary: Path, out: Path) -> None:
    """Give a complete folder its name; what had the name before is removed last."""
    replaced = temporary.with_suffix(".old")
    if out.exists():
        out.rename(replaced)
    temporary.rename(out)
    sync(out.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _raise_if_missing(
    missing: Sequence[str], num_samples: int, max_missing: float, media: Path
) -> None:
    if not num_samples and not missing:
        raise UserError("the annotations must have at least one entry, but have none")
    if len(missing) > max_missing * (num_samples + len(missing)) or not num_samples:
        listed = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        raise UserError(
            f"--media {media}: at most the fraction {max_missing:g} of the files may be missing (got "
            f"{len(missing)}: {listed}). Set --media to the right folder, or raise --max-missing"
        )


def _samples(annotations: Path, media: Path) -> Iterator[MediaRows]:
    """Yield the samples of annotations; UserError if they name unequal numbers of files."""
    by_media: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    keys: dict[tuple[str, ...], str] = {}
    is_folder = annotations.is_dir()
    located = _class_rows(annotations) if is_folder else read_rows(annotations, _FORM)
    for number, (where, value) in enumerate(located):
        row = dict(fields(value, where, _FORM))
        key, listed = names(row, where)
        first = next(iter(by_media), listed)
        if len(listed) != len(first):
            raise UserError(
                f"{where}: all lines must name equally many files (got {len(listed)}, and {len(first)} "
                "before). Pack single files and pairs separately"
            )
        # The same number as from the file itself: results must name the same questions.
        row.setdefault("question_id", row.get("id", number))
        by_media.setdefault(listed, []).append(row)
        keys.setdefault(listed, key)
    for listed, rows in by_media.items():
        kind = "frames" if keys[listed] == VIDEO_KEY else "image"
        files = tuple(find_media(media, kind, name) for name in listed)
        yield MediaRows(listed, files, rows)


def _class_rows(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a row for each file of a folder of classes: its name from the folder on, and its label."""
    for class_folder in sorted(path for path in folder.iterdir() if path.is_dir()):
        for file in walk(class_folder):
            suffix = file.suffix.lower()
            if suffix in IMAGES or suffix in VIDEOS:
                key = "image" if suffix in IMAGES else VIDEO_KEY
                yield (
                    str(file),
                    {
                        key: file.relative_to(folder).as_posix(),
                        "label": class_folder.name,
                    },
                )
