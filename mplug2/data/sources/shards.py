"""Samples of shards: found by number through an index, and each read alone from its tar file."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mplug2.data.batch import FailedSample, Sample, SampleRequest
from mplug2.data.lazy_sequence import LazySequence
from mplug2.data.media.folder import MediaFolder
from mplug2.data.media.pixel_file import MediaValue
from mplug2.data.packed_file import PackedFileError
from mplug2.data.shards.index import ShardIndex
from mplug2.data.sources.item_arguments import excluded_names
from mplug2.data.sources.items import ItemSource, failed_sample
from mplug2.data.tasks.task import Task
from registry.errors import UserError

# Separates the order of a file's items from the random numbers that crop its pixels.
_TURN_STREAM = 4


class ShardSource(ItemSource):
    """The media and annotations that `mplug2 data shard` packed.

    ``shards`` is the folder, or an address that fsspec reads (s3://bucket/folder). Any sample is read alone,
    so order, ranks and resume are those of a folder. In training a sample is one media file with up to
    ``task.items_per_sample`` of its items: an epoch has every file once, and further items of a file come in
    later epochs, all of them before one comes again. Annotations are read with their sample. In evaluation
    they are read at the start, and every item comes once. A shard that is missing or has another size than
    listed counts as that many bad files as it holds: other samples replace them, up to
    ``data.max_bad_fraction``; in evaluation it is an error. ``media`` is not read.
    """

    file_arguments = ("shards", "exclude_list")

    def __init__(
        self,
        shards: str,
        task: Task,
        training: bool = False,
        repeats: int = 1,
        exclude_list: str | None = None,
        **settings: Any,
    ) -> None:
        if not hasattr(task, "media"):
            raise UserError(
                f"shards hold media: they need a task with media (got {type(task).__name__}). "
                "Use path or text_file"
            )
        self.index = ShardIndex.open(shards)
        settings["media"] = None
        super().__init__(
            items=[] if training else list(self._all_items(task)),
            task=task,
            training=training,
            repeats=repeats,
            exclude_list=exclude_list,
            **settings,
        )
        self.numbers = np.arange(len(self.index))  # of the samples that are used
        if not training:
            return
        if len(self.views) > self.index.num_views:
            raise UserError(
                f"{shards}: the network reads {' and '.join(self.views)}, but a sample has only "
                f"{self.index.num_views} file(s). Pack the pairs"
            )
        # In training annotations stay in the shards: this reads them only if something asks for all.
        self.items = _AllItems(self)
        if exclude_list:
            removed = self.index.samples_with(excluded_names(exclude_list))
            self.numbers = np.setdiff1d(self.numbers, removed)

    def _open_media(
        self, media: str | None, view: str, stream: Any, **settings: Any
    ) -> MediaFolder:
        return _PackedMedia(self.index, view, stream, **settings)

    def _all_items(self, task: Task) -> Iterator[Any]:
        for number in range(len(self.index)):
            yield from self._items_of(task, number)

    def _items_of(self, task: Task, number: int) -> Sequence[Any]:
        """Return the items of a sample; PackedFileError if its shard is unusable."""
        # A file in memory, which the functions of tasks read like a path.
        annotations: Any = self.index.annotations(number)
        return task.read(annotations)

    @property
    def location(self) -> str:
        """The folder or address of the shards."""
        return self.index.address

    def __len__(self) -> int:
        return len(self.numbers) if self.training else super().__len__()

    def requests(self, epoch: int, seed: int) -> Sequence[SampleRequest]:
        """Return the samples of an epoch: in training every file once, shuffled (but see ``repeats``)."""
        if not self.training:
            return super().requests(epoch, seed)
        order = np.random.default_rng([seed, epoch]).permutation(self.numbers)
        # Copies one after the other, and an epoch of the usual length.
        repeated = np.repeat(order, self.repeats)[: len(order)]
        return _ShardRequests(self.index, repeated, (seed, epoch), self.repeats)

    def read(self, request: SampleRequest) -> Sample | FailedSample:
        """Return one sample; it depends on the request alone, not on the worker that reads it."""
        if not self.training:
            return super().read(request)
        try:
            items = self.items_of(request)
        except PackedFileError as error:
            return failed_sample(
                request, self.index.annotations(request.items[0]), error
            )
        # A record for each item; within a run, items are named by their sample.
        numbers = request.items[:1] * len(items)
        return self.read_items(request._replace(items=numbers), items)

    def items_of(self, request: SampleRequest) -> tuple[Any, ...]:
        """Return the items of a sample; in training the next ones, for its epoch, in an order drawn from the
        seed.

        PackedFileError if its shard is unusable.
        """
        if not self.training:
            return super().items_of(request)
        number, (seed, epoch) = request.items[0], request.seed[:2]
        items = self._items_of(self.task, number)
        if len(items) <= self._items_per_sample:
            return tuple(items)
        rng = np.random.default_rng([seed, number, _TURN_STREAM])
        # The same order in every epoch: each one takes the next items, so all come before any repeats.
        order = rng.permutation(len(items))
        start = epoch * self._items_per_sample
        chosen = []
        for turn in range(start, start + self._items_per_sample):
            chosen.append(items[int(order[turn % len(items)])])
        return tuple(chosen)

    def names(self) -> Sequence[str]:
        """Return the name of every media file, in the order of the samples."""
        return self.index.names if self.training else super().names()

    def num_tokens(self, request: SampleRequest) -> int:
        """Return the text tokens of a sample, as its task counts them."""
        if not self.training:
            return super().num_tokens(request)
        return sum(self.count_tokens(item) for item in self.items_of(request))

    def fingerprint(self) -> int:
        """Return a number that changes if any shard or the list of excluded files does."""
        return zlib.crc32(f"{self.index.checksum} {len(self.numbers)}".encode())


class _PackedMedia(MediaFolder):
    """Media files of an index instead of a folder."""

    def __init__(
        self, index: ShardIndex, view: str, stream: Any, **settings: Any
    ) -> None:
        super().__init__(Path(index.address), view, stream, **settings)
        self.index = index

    def file(self, name: str) -> MediaValue:
        """Return where in its shard the file of ``name`` is."""
        file = self.index.media_file(name)
        return super().file(name) if file is None else file


class _ShardRequests(LazySequence[SampleRequest]):
    """The samples of an epoch, made when they are asked for."""

    def __init__(
        self, index: ShardIndex, order: np.ndarray, seed: tuple[int, int], repeats: int
    ) -> None:
        self.shards, self.order, self.seed, self.repeats = index, order, seed, repeats

    def __len__(self) -> int:
        return len(self.order)

    def at(self, position: int) -> SampleRequest:
        """Return the sample at a position."""
        number, copy = int(self.order[position]), position % self.repeats
        seed = (*self.seed, copy) if copy else self.seed
        return SampleRequest(
            self.shards.media_of(number), (number,), seed, media_id=number
        )


class _AllItems(LazySequence[Any]):
    """The items of all samples; the annotations of every shard are read when the first one is asked for."""

    def __init__(self, source: ShardSource) -> None:
        self.source = source
        self._items: list[Any] | None = None

    def _read(self) -> list[Any]:
        if self._items is None:
            self._items = []
            for number in self.source.numbers:
                self._items += self.source._items_of(self.source.task, int(number))
        return self._items

    def __len__(self) -> int:
        return len(self._read())

    def at(self, number: int) -> Any:
        """Return an item."""
        return self._read()[number]
