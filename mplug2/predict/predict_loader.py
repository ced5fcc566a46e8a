"""What a network is asked, by the task of its spec: files are read a few at a time in the background."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from mplug2.data.sources.items import ItemSource
from mplug2.data.text import Tokenizer
from mplug2.predict.files import Entry
from mplug2.predict.result import Look
from registry.errors import UserError

if TYPE_CHECKING:
    from mplug2.network import Network

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


@dataclass(frozen=True)
class Chunk:
    """Some entries in order, and the goal's inputs for those that could be read; ``records`` one a row."""

    entries: list[Read]
    inputs: dict[str, Any]
    records: list[dict[str, Any]]


class Files(MediaFolder):
    """Media named by their paths; it remembers what it decoded, as it was before it was made to fit."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.decoded: list[np.ndarray] = []

    def file(self, name: str) -> Path:
        """Return the path itself."""
        return Path(name)

    def clip(self, file: Path, rng: np.random.Generator) -> np.ndarray:
        """Return the chosen frames [T H W 3] of a video."""
        self.decoded.append(super().clip(file, rng))
        return self.decoded[-1]

    def picture(self, file: Path) -> np.ndarray:
        """Return an image [H W 3]."""
        self.decoded.append(super().picture(file)[None])
        return self.decoded[-1][0]


def question_source(
    net: Network, goal: str, tokenizer: Tokenizer | None, questions: Sequence[str | None]
) -> ItemSource:
    """Return the task of the spec's data as evaluation uses it, over what is asked; None asks nothing."""
    texts = [question or "" for question in questions]
    return build_prediction_source(net.spec, net.types, goal, tokenizer, texts)


def query_input(net: Network, goal: str, task: Any) -> str | None:
    """Return the input that a question goes to: `query_input` of the task, or else its first text."""
    inputs = net.plan(goal).inputs
    if hasattr(task, "query_input"):
        return task.query_input if task.query_input in inputs else None
    return next((name for name in task.outputs if name in inputs and net.types[name].kind == "text"), None)


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
    ) -> None:
        self.source, self.entries, self.pictures = source, entries, pictures
        self.questions = tuple(questions)
        self.files: Files | None = None
        if source.views:
            view, threads = source.views[0], 0 if len(entries) == 1 else 1  # several are read side by side
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
            source.media = self.files

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, number: int) -> tuple[Sample | FailedSample, tuple[Look, ...]]:
        if self.files is None:
            return self.source.read(SampleRequest((), (number,))), ()
        self.files.decoded.clear()
        items = tuple(range(len(self.source.items)))
        sample = self.source.read(SampleRequest(self.entries[number], items))
        if isinstance(sample, FailedSample):
            return sample, ()
        return sample, tuple(look(frames, self.pictures) for frames in self.files.decoded)

    def collate(self, samples: Sequence[tuple[Sample | FailedSample, tuple[Look, ...]]]) -> Chunk:
        """Return entries that were read together."""
        entries, readable = [], []
        for sample, looks in samples:
            if isinstance(sample, FailedSample):
                entries.append(Read(sample.request.media, error=sample.reason))
                continue
            questions = tuple(self.questions[number] for number in sample.request.items)
            entries.append(Read(sample.request.media, looks, sample.crop_geometry, questions=questions))
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
        generator=torch.Generator(),  # a loader must not draw from the caller's random numbers
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


def look(frames: np.ndarray, pictures: int) -> Look:
    """The size of frames [T H W 3], and some of them, evenly spread, as small JPEG files."""
    height, width = frames.shape[1:3]
    edge = EDGE if len(frames) > 1 else 2 * EDGE
    chosen = np.linspace(0, len(frames) - 1, min(pictures, len(frames))).round().astype(int)
    return Look(width, height, tuple(_jpeg(frames[number], edge) for number in chosen))


def _jpeg(pixels: np.ndarray, edge: int) -> bytes:
    picture, file = Image.fromarray(pixels), BytesIO()
    picture.thumbnail((edge, edge))
    picture.save(file, "JPEG", quality=85)
    return file.getvalue()
