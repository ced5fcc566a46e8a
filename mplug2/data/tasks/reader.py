"""What all readers of annotated videos and images share: samples, their order, their media, their batches."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from mplug2.data.batch import Batch, FailedSample, Sample, SampleRequest
from mplug2.data.media.folder import UNREADABLE, Media
from mplug2.data.tasks.limits import at_least
from mplug2.data.text import Tokenizer
from registry.errors import UserError

if TYPE_CHECKING:
    from registry import Spec, StreamType


class Item(Protocol):
    """One line of an annotation file: a question, a caption, a labelled sentence, a box."""

    @property
    def media(self) -> tuple[str, ...]:
        """The names of the files that it is about: one, or the two of a pair."""
        ...

    def record(self, **more: Any) -> dict[str, Any]:
        """Return what evaluation writes down about it."""
        ...


One = TypeVar("One", bound=Item)
# which inputs may hold the media, in a spec that declares them
VIEWS = (("video",), ("image",), ("left", "right"))


class MediaReader(Generic[One], ABC):
    """Videos or images with what is annotated about them: one sample is one of them, and some of its items.

    ``path`` is the annotation file and ``media`` the folder of its files: VIDEO_ID.mp4 or .avi (.gif where
    the name begins with "tumblr"), or images. Whether videos, images or pairs of images are read is for the
    spec's inputs to say: ``video``, ``image``, or ``left`` and ``right``; their size and number of frames
    come from the solved types. ``augment`` holds in training alone. ``quarantine`` is a list that
    `mplug2 data check` wrote: its files are left out with their items. ``cache``: megabytes per process in
    which decoded files are kept (tiny ones: decoding costs more than training). ``asked``, in place of both
    the annotation file and the folder: files by their paths, and what a person asks about each.
    """

    outputs: ClassVar[dict[str, str]]
    asks: ClassVar[str | None] = None  # the input that holds what a person asks about a file
    together = 1  # how many items one sample takes of one file
    repeats = True  # whether, without an index stream, a file is repeated for each of its items

    def __init__(
        self,
        path: str,
        media: str,
        types: dict[str, StreamType],
        tokenizer: Tokenizer,
        split: str = "train",
        training: bool = False,
        spec: Spec | None = None,
        inputs: Collection[str] | None = None,
        augment: Literal["none", "crop", "full"] = "none",
        decoder: Literal["av", "decord"] = "av",
        threads: int = 1,
        cache: int = 0,
        quarantine: str | None = None,
        asked: Sequence[tuple[tuple[str, ...], str]] | None = None,
    ) -> None:
        at_least(0, {"spec": spec, "split": split}, threads=threads, cache=cache)
        self.tokenizer, self.training = tokenizer, training
        self.wanted = frozenset(self.outputs if inputs is None else inputs)
        self.views = _views(self.wanted & set(self.outputs), types)
        self.index = "clip" if self.views == ("video",) else "picture"
        if asked is None and not Path(path).is_file():
            raise UserError(_missing("annotation file", path, spec, split, "path"))
        if asked is None and not Path(media).is_dir():
            raise UserError(_missing("media folder", media, spec, split, "media"))
        self.media = Media(
            Path(media),
            self.views[0],
            types[self.views[0]],
            training=training,
            augment=augment,
            decoder=decoder,
            threads=threads,
            cache=cache,
        )
        if asked is None:
            self.items = self.annotations(Path(path))
        else:
            self.items = [self.item(number, *one) for number, one in enumerate(asked)]
        skipped = _quarantined(Path(quarantine)) if quarantine else set()
        self.by_media: dict[tuple[str, ...], list[int]] = {}
        for number, item in enumerate(self.items):
            if len(item.media) != len(self.views):
                raise UserError(
                    f"{path}: entry {number + 1} must name {len(self.views)} file(s), for the network reads "
                    f"{' and '.join(self.views)}, but names {', '.join(item.media)}"
                )
            if skipped.isdisjoint(item.media):
                self.by_media.setdefault(item.media, []).append(number)
        if not self.by_media and asked is None:
            raise UserError(f"{path} must hold at least one entry that can be used, but holds none")
        self._requests = self.requests(0, 0)

    @abstractmethod
    def annotations(self, path: Path) -> list[One]:
        """Return what is said about the media; each reader has its own format."""

    @abstractmethod
    def item(self, number: int, media: tuple[str, ...], text: str) -> One:
        """Return what a person asks about some files, as an item without an answer."""

    @abstractmethod
    def streams(
        self, told: Sequence[tuple[int, One]], samples: Sequence[Sample]
    ) -> dict[str, Callable[[], Any]]:
        """Return makers of the inputs other than the media; ``told``: each item with its sample's number."""

    def marks(self, item: One, sample: Sample) -> dict[str, Any]:
        """Return what evaluation needs to know of an item beside its record."""
        return {}

    def set_epoch(self, epoch: int, seed: int = 0) -> None:
        """Regroup the items for plain indexing; the loader asks for `requests` itself."""
        self._requests = self.requests(epoch, seed)

    def requests(self, epoch: int, seed: int) -> list[SampleRequest]:
        """Return the samples of an epoch, every item in exactly one: shuffled in training, else in file
        order."""
        requests: list[SampleRequest] = []
        rng = np.random.default_rng([seed, epoch])
        for media_id, (media, numbers) in enumerate(self.by_media.items()):
            order = rng.permutation(numbers).tolist() if self.training else numbers
            for start in range(0, len(order), self.together):
                items = tuple(order[start : start + self.together])
                requests.append(SampleRequest(media, items, (seed, epoch), media_id=media_id))
        if not self.training:
            return requests
        return [requests[position] for position in rng.permutation(len(requests))]

    def __len__(self) -> int:
        return len(self._requests)

    def __getitem__(self, position: int) -> Sample | FailedSample:
        return self.read(self._requests[position])

    def read(self, request: SampleRequest) -> Sample | FailedSample:
        """Return one sample; it depends on the request alone, not on the worker that reads it."""
        rng = np.random.default_rng([*request.seed, request.items[0]])
        views = []
        for name in request.media:
            try:
                views.append(self.view(name, rng))
            except UNREADABLE as error:
                return FailedSample(request, str(self.media.file(name)), str(error))
        return Sample(request, tuple(pixels for pixels, _ in views), crop_geometry=views[0][1])

    def view(self, name: str, rng: np.random.Generator) -> tuple[Tensor, Any]:
        """Return the pixels of one file and what `streams` must know of how they were cut out."""
        return self.media.read(name, rng), None

    def blank(self, failed: FailedSample) -> Sample:
        """Return a stand-in for a file that cannot be decoded, so that evaluation has a row for each of its
        items."""
        return Sample(failed.request, (self.media.black(),) * len(self.views), failed.reason)

    def names(self) -> list[str]:
        """Return the name of every file that has items, in the order of the annotations."""
        return list(dict.fromkeys(name for media in self.by_media for name in media))

    def files(self) -> list[Path]:
        """Return where those files are."""
        return [self.media.file(name) for name in self.names()]

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Return the batch of some samples: their media, the items, and the index between them."""
        told = [
            (row, self.items[number]) for row, sample in enumerate(samples) for number in sample.request.items
        ]
        index = torch.tensor([row for row, _ in told])
        repeat = self.repeats and self.index not in self.wanted
        made: dict[str, Any] = {}
        for place, name in enumerate(self.views):
            stack = torch.stack([sample.views[place] for sample in samples])
            made[name] = stack[index] if repeat else stack
        makers = {self.index: lambda: index, **self.streams(told, samples)}
        made |= {name: make() for name, make in makers.items() if name in self.wanted}
        return Batch(made, [self._record(item, samples[row]) for row, item in told])

    def _record(self, item: One, sample: Sample) -> dict[str, Any]:
        marks: dict[str, Any] = {"bad": sample.failure} if sample.failure else {}
        if sample.request.padding:
            marks["padding"] = True
        return item.record(**self.marks(item, sample), **marks)


def _views(names: Collection[str], types: dict[str, StreamType]) -> tuple[str, ...]:
    found = [views for views in VIEWS if all(name in names and name in types for name in views)]
    if len(found) != 1:
        known = "; ".join(" and ".join(views) for views in VIEWS)
        read = "several of them" if found else "none of them"
        raise UserError(
            f"a network must read media by inputs of one of these names: {known}; it reads {read}"
        )
    return found[0]


def _missing(what: str, path: str, spec: Spec | None, split: str, key: str) -> str:
    where = ""
    if spec is not None:
        own = key in (spec.data.get(split) or {})
        where = f"{spec.place('data', split, key) if own else spec.place('data', key)}: "
    return f"{where}the {what} of the {split} split must exist, but {path} does not (data.{split}.{key})"


def _quarantined(path: Path) -> set[str]:
    try:
        return {json.loads(line)["video_id"] for line in path.read_text().splitlines() if line.strip()}
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"the quarantine list {path} cannot be read; write it anew with `mplug2 data check`"
        ) from None
