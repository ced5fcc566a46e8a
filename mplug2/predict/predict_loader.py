"""Files read for a network, by the reader that its spec names for evaluation, a few at a time in the
background."""

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
from mplug2.data.media.folder import Media
from mplug2.data.tasks.reader import MediaReader
from mplug2.data.text import Tokenizer
from mplug2.predict.files import Entry
from mplug2.predict.result import Look
from registry.errors import UserError

if TYPE_CHECKING:
    from mplug2.network import Network

EDGE = 192  # the longest side of a picture of a frame; single images get twice as much


@dataclass(frozen=True)
class Read:
    """One entry that was read: how its files look, how they were cut out, or why they cannot be read."""

    entry: Entry
    looks: tuple[Look, ...] = ()
    frame: Any = None
    error: str | None = None


@dataclass(frozen=True)
class Chunk:
    """Some entries in order, and the goal's inputs for those that could be read; ``records`` one a row."""

    entries: list[Read]
    inputs: dict[str, Any]
    records: list[dict[str, Any]]


class Files(Media):
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


def reader_of(
    net: Network,
    goal: str,
    tokenizer: Tokenizer,
    entries: Sequence[Entry] = (),
    questions: Sequence[str] = (),
) -> MediaReader[Any]:
    """Return the reader of the spec's data as evaluation uses it, over files and what is asked about each.

    UserError where the spec names no reader, or one that cannot be asked.
    """
    from registry import TASKS
    from registry.language.schema import DATA

    spec = net.spec
    if not spec.data.get("kind"):
        raise UserError(f"{spec.path}: data.kind must name a reader to predict with, but is not set")
    kind = TASKS.load(spec.data["kind"])
    if not issubclass(kind, MediaReader):
        raise UserError(
            f"{spec.place('data', 'kind')}: reader '{spec.data['kind']}' reads no files to ask about"
        )
    split = spec.data.get(spec.eval["split"])
    arguments = {name: value for name, value in spec.data.items() if name not in DATA}
    arguments |= split if isinstance(split, dict) else {}
    own = {"path": "", "media": "", "cache": 0, "quarantine": None}  # a file is read once, from anywhere
    reader: MediaReader[Any] = kind(
        **arguments | own,
        types=net.types,
        tokenizer=tokenizer,
        split=spec.eval["split"],
        spec=spec,
        inputs=frozenset(net.plan(goal).inputs),
        asked=[(entry, question) for entry in entries for question in questions or ("",)],
    )
    return reader


class Asked(Dataset[Any]):
    """Entries with ``each`` questions; of each file ``pictures`` are kept to be shown."""

    def __init__(
        self, net: Network, reader: MediaReader[Any], entries: Sequence[Entry], each: int, pictures: int
    ) -> None:
        self.reader, self.entries, self.each, self.pictures = reader, entries, each, pictures
        view, threads = reader.views[0], 0 if len(entries) == 1 else 1  # several are read side by side
        self.files = Files(Path(), view, net.types[view], decoder=reader.media.decoder, threads=threads)
        reader.media = self.files

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, number: int) -> tuple[Sample | FailedSample, tuple[Look, ...]]:
        items = tuple(range(number * self.each, (number + 1) * self.each))
        self.files.decoded.clear()
        sample = self.reader.read(SampleRequest(self.entries[number], items))
        if isinstance(sample, FailedSample):
            return sample, ()
        return sample, tuple(look(frames, self.pictures) for frames in self.files.decoded)

    def collate(self, samples: Sequence[tuple[Sample | FailedSample, tuple[Look, ...]]]) -> Chunk:
        """Return entries that were read together."""
        entries = [
            Read(sample.request.media, error=sample.reason)
            if isinstance(sample, FailedSample)
            else Read(sample.request.media, looks, sample.crop_geometry)
            for sample, looks in samples
        ]
        whole = [sample for sample, _ in samples if isinstance(sample, Sample)]
        if not whole:
            return Chunk(entries, {}, [])
        batch = self.reader.collate(whole)
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
            f"a process that reads files was killed or ran out of memory, after {done} files, near {near}; "
            "leave that file out, or see with data.workers=0 what becomes of it"
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
