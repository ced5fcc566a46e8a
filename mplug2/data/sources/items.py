"""A source of items in memory: grouped into samples, ordered, and read with their media."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import Tensor

from mplug2.data.arguments import ArgumentError, at_least
from mplug2.data.batch import FailedSample, Sample, SampleRequest
from mplug2.data.collate import Collator
from mplug2.data.media.folder import UNREADABLE, MediaFolder, media_views
from mplug2.data.media.pixel_file import MediaValue
from mplug2.data.media.transforms import CLIP_MEAN, CLIP_STD, Flip
from mplug2.data.packed_file import PackedFileError
from mplug2.data.sources.epoch_requests import TextRequests, repeated_requests
from mplug2.data.sources.item_arguments import excluded_names, media_folder
from mplug2.data.tasks.task import Task
from registry.errors import UserError

if TYPE_CHECKING:
    from registry import StreamType

# Separates the random numbers that mirror a sample from those that crop and color it.
_FLIP_STREAM = 2

MediaOf = Callable[[Any], tuple[str, ...]]  # the files of an item


class ItemSource:
    """Items in a list: for Python users and tests, and what sources of files have in common.

    A sample is one item; of a task with media it is a file (or the two of a pair) with up to
    ``task.items_per_sample`` of its items. ``media`` is the folder of the files: VIDEO_ID.mp4 or .avi (.gif
    if the name begins with "tumblr"), or images. Their size and number of frames come from the solved types
    of the inputs. ``augment`` and ``flip`` act in training alone; a flip mirrors one file in two, and with
    ``media_and_text`` swaps left and right in its texts. ``cache``: megabytes per process in which decoded
    files are kept (tiny ones: decoding costs more than training). ``image_mean`` and ``image_std`` (for red,
    green, blue, of values from 0 to 1) normalize pixels. ``exclude_list`` is a list that `mplug2 data check`
    wrote: its files are left out with their items. ``repeats``: in training, an epoch has one in ``repeats``
    files, each so many times, differently augmented, one after the other (arXiv 1901.09335). A file is
    refused beyond ``max_pixels`` of an image (default 67,108,864) or a frame (35,651,584), ``max_frames`` of
    a video (200,000) and ``max_seconds`` of decoding it (300).
    """

    def __init__(
        self,
        items: list[Any],
        task: Task,
        types: Mapping[str, StreamType] | None = None,
        inputs: Collection[str] | None = None,
        training: bool = False,
        media: str | None = None,
        augment: Literal["none", "crop", "full"] = "none",
        flip: Literal["none", "media", "media_and_text"] = "none",
        decoder: Literal["av", "decord"] = "av",
        threads: int = 1,
        cache: int = 0,
        image_mean: Sequence[float] | float = CLIP_MEAN,
        image_std: Sequence[float] | float = CLIP_STD,
        exclude_list: str | None = None,
        repeats: int = 1,
        max_pixels: int | None = None,
        max_frames: int | None = None,
        max_seconds: float | None = None,
    ) -> None:
        at_least(0, threads=threads, cache=cache)
        at_least(1, repeats=repeats)
        at_least(
            1, max_pixels=max_pixels, max_frames=max_frames, max_seconds=max_seconds
        )
        self.items: Sequence[Any] = items
        self.task, self.training, self.repeats = task, training, repeats
        self.inputs = None if inputs is None else frozenset(inputs)
        self.collate = Collator(task, inputs)
        self._item_tokens: dict[int, int] = {}
        self._media_of: MediaOf | None = getattr(task, "media", None)
        self.views: tuple[str, ...] = ()
        self.by_media: dict[tuple[str, ...], list[int]] = {}
        self.flip: Flip = "none"
        if self._media_of is None:
            self._refuse_repeats()
            return
        types = types or {}
        self.views = media_views(task.outputs, types, inputs)
        self._check_views(augment, flip)
        self.flip = self._checked_flip(flip)
        # A network that reads regions alone needs no files of pixels.
        if self.views:
            self.media = self._open_media(
                media,
                self.views[0],
                types[self.views[0]],
                training=training,
                augment=augment,
                decoder=decoder,
                threads=threads,
                cache=cache,
                mean=image_mean,
                std=image_std,
                max_pixels=max_pixels,
                max_frames=max_frames,
                max_seconds=max_seconds,
            )
        self._group_by_media(excluded_names(exclude_list))

    def _refuse_repeats(self) -> None:
        """Raise ArgumentError if a text is to be repeated: its copies would be equal."""
        if self.repeats > 1:
            message = f"repeats needs media to augment, but is {self.repeats} for text"
            raise ArgumentError("repeats", message)

    def _open_media(
        self, media: str | None, view: str, stream: StreamType, **settings: Any
    ) -> MediaFolder:
        """Return what finds and decodes the media files, as inputs of one type."""
        return MediaFolder(media_folder(media), view, stream, **settings)

    def _check_views(self, augment: str, flip: Flip) -> None:
        """Raise UserError if a spec reads no media, ArgumentError if it augments media with given regions."""
        has_regions = bool(getattr(self.task, "region_inputs", ()))
        if not self.views and not has_regions:
            supplied = [f"{name}: {port}" for name, port in self.task.outputs.items()]
            raise UserError(
                f"a spec over the task {type(self.task).__name__} must read its media by an input, but reads "
                f"none; the task supplies {', '.join(supplied)}"
            )
        if has_regions and (augment != "none" or flip == "media"):
            raise ArgumentError(
                "augment" if augment != "none" else "flip",
                "regions keep their places only without crops and flips "
                f"(got augment: {augment}, flip: {flip}). Leave both out",
            )

    def _checked_flip(self, flip: Flip) -> Flip:
        """Return the setting; raise ArgumentError if the texts of this task cannot follow their media."""
        # A task that decodes its media itself mirrors them itself.
        if flip != "media_and_text" or hasattr(self.task, "decode"):
            return flip
        if len(self.views) > 1:
            message = "flip: media_and_text mirrors one file, but a sample has two. Use flip: media, or flip: none"
            raise ArgumentError("flip", message)
        if not hasattr(self.task, "mirror"):
            task = type(self.task).__name__
            message = (
                f"flip: media_and_text needs a task with mirror(item), but {task} has none. "
                "Use flip: media, or flip: none"
            )
            raise ArgumentError("flip", message)
        return flip

    def _group_by_media(self, skipped: set[str]) -> None:
        # Only tasks with media are grouped.
        assert self._media_of is not None
        for number, item in enumerate(self.items):
            names = self._media_of(item)
            # A question without files: requests for prediction name them.
            if not names:
                continue
            if self.views and len(names) != len(self.views):
                raise UserError(
                    f"{self.location}: entry {number + 1} must name {len(self.views)} file(s), for the "
                    f"network reads {' and '.join(self.views)}, but names {', '.join(names)}"
                )
            if skipped.isdisjoint(names):
                self.by_media.setdefault(names, []).append(number)

    @property
    def location(self) -> str:
        """Where the items come from, for messages."""
        return "items"

    def __len__(self) -> int:
        if self._media_of is None:
            return len(self.items)
        per_sample = self._items_per_sample
        return sum(-(-len(numbers) // per_sample) for numbers in self.by_media.values())

    @property
    def num_records(self) -> int:
        """The records of one pass: one for each item. Evaluation checks that none is lost or repeated."""
        if self._media_of is None:
            return len(self.items)
        return sum(len(numbers) for numbers in self.by_media.values())

    @property
    def _items_per_sample(self) -> int:
        return int(getattr(self.task, "items_per_sample", 1))

    def requests(self, epoch: int, seed: int) -> Sequence[SampleRequest]:
        """Return the samples of an epoch, every item in exactly one (but see ``repeats``): shuffled in
        training, else in file order."""
        rng = np.random.default_rng([seed, epoch])
        if self._media_of is None:
            order = np.arange(len(self.items))
            if self.training:
                order = rng.permutation(len(self.items))
            return TextRequests(order, (seed, epoch))
        requests: list[SampleRequest] = []
        for media_id, (names, numbers) in enumerate(self.by_media.items()):
            # Which items of a file are together in a sample differs from epoch to epoch, too.
            shuffled = rng.permutation(numbers).tolist() if self.training else numbers
            for start in range(0, len(shuffled), self._items_per_sample):
                items = tuple(shuffled[start : start + self._items_per_sample])
                requests.append(
                    SampleRequest(names, items, (seed, epoch), media_id=media_id)
                )
        if not self.training:
            return requests
        order = rng.permutation(len(requests))
        shuffled_requests = [requests[position] for position in order]
        if self.repeats == 1:
            return shuffled_requests
        return repeated_requests(shuffled_requests, self.repeats)

    def __getitem__(self, position: int) -> Sample | FailedSample:
        """Return the sample at a position of epoch 0 with seed 0."""
        return self.read(self.requests(0, 0)[position])

    def read(self, request: SampleRequest) -> Sample | FailedSample:
        """Return one sample; it depends on the request alone, not on the worker that reads it."""
        return self.read_items(request, self.items_of(request))

    def items_of(self, request: SampleRequest) -> tuple[Any, ...]:
        """Return the items of a sample, without its media."""
        return tuple(self.items[number] for number in request.items)

    def read_items(
        self, request: SampleRequest, items: tuple[Any, ...]
    ) -> Sample | FailedSample:
        """Return one sample with these items: its media are decoded, and mirrored together with them."""
        # By the request alone: any worker, in any order, reads the same sample.
        rng = np.random.default_rng([*request.seed, request.items[0]])
        mirrored = self._mirrored(request)
        views, geometry = [], None
        files = request.media if self.views else ()
        for name, mirror in zip(files, mirrored, strict=True):
            try:
                pixels, file_geometry = self._decode(name, items, rng, mirror)
            except UNREADABLE as error:
                return failed_sample(request, self.media.file(name), error)
            views.append(pixels)
            # That of the first file: a task with geometry has one file for a sample.
            geometry = file_geometry if geometry is None else geometry
        if self.flip == "media_and_text" and any(mirrored):
            mirror_item: Callable[[Any], Any] = self.task.mirror  # type: ignore[attr-defined]
            items = tuple(mirror_item(item) for item in items)
        return Sample(request, items, tuple(views), crop_geometry=geometry)

    def _mirrored(self, request: SampleRequest) -> list[bool]:
        """Return which files of a sample are mirrored."""
        num_files = len(request.media) if self.views else 0
        if self.flip == "none" or not self.training or hasattr(self.task, "decode"):
            return [False] * num_files
        rng = np.random.default_rng([*request.seed, request.items[0], _FLIP_STREAM])
        return [bool(draw < 0.5) for draw in rng.random(num_files)]

    def _decode(
        self, name: str, items: Sequence[Any], rng: np.random.Generator, mirror: bool
    ) -> tuple[Tensor, Any]:
        decode = getattr(self.task, "decode", None)
        if decode is None:
            pixels = self.media.read(name, rng)
            return pixels.flip(-1) if mirror else pixels, None
        pixels, geometry = decode(self.media, name, items, rng)
        return pixels, geometry

    def blank(self, failed: FailedSample) -> Sample:
        """Return a stand-in over black frames, so that evaluation has a row for each of its items."""
        views = (self.media.black(),) * len(self.views)
        items = self.items_of(failed.request)
        return Sample(failed.request, items, views, failure=failed.reason)

    def names(self) -> Sequence[str]:
        """Return the name of every file that has items, in the order of the annotations."""
        names: dict[str, None] = {}
        for media_names in self.by_media:
            names.update(dict.fromkeys(media_names))
        return list(names)

    def files(self) -> list[MediaValue]:
        """Return where those files are."""
        return [self.media.file(name) for name in self.names()] if self.views else []

    def num_tokens(self, request: SampleRequest) -> int:
        """Return the text tokens of a sample, as its task counts them."""
        total = 0
        for number in request.items:
            if number not in self._item_tokens:
                self._item_tokens[number] = self.count_tokens(self.items[number])
            total += self._item_tokens[number]
        return total

    def count_tokens(self, item: Any) -> int:
        """Return the text tokens of an item; UserError if its task does not count them."""
        count = getattr(self.task, "num_tokens", None)
        if count is None:
            raise UserError(
                f"batches by tokens need a task that counts them: {type(self.task).__name__} has no "
                "num_tokens(item). Set batch_size and micro_batch in samples"
            )
        return int(count(item))

    def fingerprint(self) -> int:
        """Return a number that changes if items are added or removed."""
        return len(self.items)

    def records(self) -> list[dict[str, Any]]:
        """Return what evaluation would know of every item, without reading its media."""
        records = []
        for number, item in enumerate(self.items):
            records.append(self.collate.record(item, number))
        return records


def failed_sample(
    request: SampleRequest, file: MediaValue, error: UserError
) -> FailedSample:
    """Return a sample whose file cannot be read; of an unusable archive, with all the files in it."""
    archive = error.archive if isinstance(error, PackedFileError) else None
    if archive is None:
        return FailedSample(request, str(file), str(error))
    return FailedSample(request, archive.address, str(error), archive.num_files)
