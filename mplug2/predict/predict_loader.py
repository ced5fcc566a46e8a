"""What a network is asked, by the task of its spec: files are read a few at a time in the background."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from mplug2.data.batch import FailedSample, Sample, SampleRequest
from mplug2.data.build import build_prediction_source
from mplug2.data.media.folder import MediaFolder
from mplug2.data.media.image import resize
from mplug2.data.media.pixel_file import MediaValue
from mplug2.data.media.video import Shrink
from mplug2.data.media.video_file import Scan, scan_video
from mplug2.data.sources.items import ItemSource
from mplug2.data.text import Tokenizer
from mplug2.predict.files import Entry
from mplug2.predict.result import Look
from registry.errors import UserError

if TYPE_CHECKING:
    from mplug2.network import Network

SHOWN_BYTES = 256 << 20  # of the frames of one clip that are kept in their own size
# Seconds between two frames, above which a result warns of missed events.
LONGEST_GAP = 5.0
EDGE = 192  # the longest side of the image of a frame; single images get twice as much


@dataclass(frozen=True)
class Read:
    """One entry that was read: how its files look, how they were cut out, or why they cannot be read.

    ``questions`` are what is asked about it, one for each row; None asks nothing.
    """

    entry: Entry
    looks: tuple[Look, ...] = ()
    crop_geometry: Any = None
    error: str | None = None
    questions: tuple[str | None, ...] = (None,)
    notes: tuple[str, ...] = ()  # what the network misses of the files


@dataclass(frozen=True)
class ReadSample:
    """What was read for one entry: a sample or why there is none, how its files look, and notes on them."""

    sample: Sample | FailedSample
    looks: tuple[Look, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chunk:
    """Some entries in order, and the goal's inputs for those that could be read; ``records`` one a row."""

    entries: list[Read]
    inputs: dict[str, Any]
    records: list[dict[str, Any]]


class Files(MediaFolder):
    """Media named by their paths, or in memory by the names of ``in_memory``.

    It remembers what it decoded, as it was before it was made to fit.

    Of clips above ``SHOWN_BYTES`` it remembers what the network sees, and their size.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.in_memory: Mapping[str, MediaValue] = {}
        self.decoded: list[np.ndarray] = []
        self.sizes: list[tuple[int, int]] = []  # height and width of what was decoded
        self.notes: list[str] = []  # what the network misses of it
        self._is_large = False

    def file(self, name: str) -> MediaValue:
        """Return what is in memory under this name, or else the path itself."""
        value = self.in_memory.get(name)
        return Path(name) if value is None else value

    def clip(
        self, file: MediaValue, rng: np.random.Generator, scan: Scan | None = None
    ) -> np.ndarray:
        """Return the chosen frames [T H W 3] of a video."""
        scan = scan or scan_video(file, self.limits)
        self._is_large = scan.width * scan.height * 3 * self.frames > SHOWN_BYTES
        frames = super().clip(file, rng, scan)
        if (note := sparse_frames(scan, self.frames)) is not None:
            self.notes.append(note)
        height, width = frames.shape[1:3]
        self.decoded.append(frames)
        self.sizes.append(
            (scan.height, scan.width) if self._is_large else (height, width)
        )
        return frames

    def shrink(self) -> Shrink | None:
        """Return what makes the frames of a large clip small; None for others, which are shown."""
        return super().shrink() if self._is_large else None

    def picture(self, file: MediaValue) -> np.ndarray:
        """Return an image [H W 3]."""
        pixels = super().picture(file)
        self.decoded.append(pixels[None])
        self.sizes.append((pixels.shape[0], pixels.shape[1]))
        return pixels


def question_source(
    net: Network,
    goal: str,
    tokenizer: Tokenizer | None,
    questions: Sequence[str | None],
) -> ItemSource:
    """Return the task of the spec's data as evaluation uses it, over what is asked; None asks nothing."""
    texts = [question or "" for question in questions]
    return build_prediction_source(net.spec, net.types, goal, tokenizer, texts)


def query_input(net: Network, goal: str, task: Any) -> str | None:
    """Return the input that a question goes to: `query_input` of the task, or else its first text."""
    inputs = net.plan(goal).inputs
    if hasattr(task, "query_input"):
        return task.query_input if task.query_input in inputs else None
    for name in task.outputs:
        if name in inputs and net.types[name].kind == "text":
            return str(name)
    return None


class Asked(Dataset[Any]):
    """What is asked, one entry after the other: all questions about each entry's files, or one text each.

    Of each file ``pictures`` are kept to be shown.
    """

    def __init__(
        self,
        net: Network,
        source: ItemSource,
        entries: Sequence[Entry],
        questions: Sequence[str | None],
        pictures: int,
        in_memory: Mapping[str, MediaValue],
    ) -> None:
        self.source, self.entries, self.pictures = source, entries, pictures
        self.questions = tuple(questions)
        self.files: Files | None = None
        if source.views:
            view = source.views[0]
            # Several entries are read side by side, each by one thread.
            threads = 0 if len(entries) == 1 else 1
            media = source.media
            self.files = Files(
                Path(),
                view,
                net.types[view],
                decoder=media.decoder,
                threads=threads,
                mean=media.mean,
                std=media.std,
            )
            self.files.limits = media.limits
            self.files.max_image_pixels = media.max_image_pixels
            self.files.in_memory = in_memory
            source.media = self.files

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, number: int) -> ReadSample:
        if self.files is None:
            return ReadSample(self.source.read(SampleRequest((), (number,))))
        self.files.decoded.clear()
        self.files.sizes.clear()
        self.files.notes.clear()
        items = tuple(range(len(self.source.items)))
        sample = self.source.read(SampleRequest(self.entries[number], items))
        if isinstance(sample, FailedSample):
            return ReadSample(sample)
        decoded = zip(self.files.decoded, self.files.sizes, strict=True)
        looks = tuple(look(frames, size, self.pictures) for frames, size in decoded)
        return ReadSample(sample, looks, tuple(dict.fromkeys(self.files.notes)))

    def collate(self, samples: Sequence[ReadSample]) -> Chunk:
        """Return entries that were read together."""
        entries, readable = [], []
        for read in samples:
            sample = read.sample
            if isinstance(sample, FailedSample):
                entries.append(Read(sample.request.media, error=sample.reason))
                continue
            questions = tuple(self.questions[number] for number in sample.request.items)
            entries.append(
                Read(
                    sample.request.media,
                    read.looks,
                    sample.crop_geometry,
                    None,
                    questions,
                    read.notes,
                )
            )
            readable.append(sample)
        if not readable:
            return Chunk(entries, {}, [])
        batch = self.source.collate(readable)
        return Chunk(entries, batch.inputs, batch.records)


def chunks(asked: Asked, batch: int, workers: int) -> Iterator[Chunk]:
    """Yield the entries in order, ``batch`` at a time, read by ``workers`` processes (0: this one).

    UserError where such a process dies, which no broken file should bring about but some do.
    """
    loader: DataLoader[Any] = DataLoader(
        asked,
        batch_size=batch,
        num_workers=min(workers, -(-len(asked) // batch)),
        collate_fn=asked.collate,
        # A loader must not draw from the caller's random numbers.
        generator=torch.Generator(),
    )
    done = 0
    try:
        for chunk in loader:
            yield chunk
            done += len(chunk.entries)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        near = ", ".join(" + ".join(entry) for entry in asked.entries[done : done + 3])
        raise UserError(
            f"a data worker was killed or ran out of memory after {done} files, near {near}; skip that "
            "file, or set data.workers=0 to see the error"
        ) from None


def sparse_frames(scan: Scan, num_frames: int) -> str | None:
    """Return a note if a network sees so few frames of a video that events between them may be missed."""
    gap = 0.0 if scan.seconds is None else scan.seconds / num_frames
    if gap <= LONGEST_GAP:
        return None
    seen = f"{num_frames} of {scan.packets} frames were seen, one in {gap:.0f} seconds"
    return f"the video is longer than the network samples well: {seen}; shorter events may be missed"


def look(frames: np.ndarray, size: tuple[int, int], pictures: int) -> Look:
    """Return the size (height, width) of frames [T H W 3], and some of them, evenly spread, as small JPEG
    files."""
    height, width = size
    edge = EDGE if len(frames) > 1 else 2 * EDGE
    count = min(pictures, len(frames))
    chosen = np.linspace(0, len(frames) - 1, count).round().astype(int)
    scale = min(1.0, edge / max(size))
    shown = (max(1, round(height * scale)), max(1, round(width * scale)))
    jpegs = []
    for number in chosen:
        frame = frames[number]
        # A large clip was reduced to a square: what is shown has the proportions of the file.
        proportional = frame if frame.shape[:2] == size else resize(frame, *shown)
        jpegs.append(_jpeg(proportional, edge))
    return Look(width, height, tuple(jpegs))


def _jpeg(pixels: np.ndarray, edge: int) -> bytes:
    picture, file = Image.fromarray(pixels), BytesIO()
    picture.thumbnail((edge, edge))
    picture.save(file, "JPEG", quality=85)
    return file.getvalue()
