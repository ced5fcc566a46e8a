"""What the tasks over videos and images share: their media, the index between media and text, records."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

import torch

from mplug2.data.arguments import ArgumentError, at_least
from mplug2.data.batch import Sample, SampleRequest
from mplug2.data.media.folder import media_views
from mplug2.data.regions.record import (
    RegionRecord,
    RegionStore,
    batch_regions,
    confident,
)
from mplug2.data.text import Tokenizer
from registry.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from modules.streams import Regions
    from registry import StreamType

# Which inputs may hold the media, in a spec that declares them.
VIEWS = (("video",), ("image",), ("region_image",), ("left", "right"))
# Which inputs may hold their regions, in the order of the files of an item.
REGIONS = (("regions",), ("left_regions", "right_regions"))


class Item(Protocol):
    """One line of an annotation file: a question, a caption, a labelled sentence, a box."""

    @property
    def media(self) -> tuple[str, ...]:
        """The names of the files that it is about: one, or the two of a pair."""
        ...

    def record(self, **more: Any) -> dict[str, Any]:
        """Return what evaluation writes down about it."""
        ...


ItemType = TypeVar("ItemType", bound=Item)


@dataclass(frozen=True)
class BatchItem(Generic[ItemType]):
    """One item of a batch: the row of its sample among the media, the item, and the sample."""

    row: int
    item: ItemType
    sample: Sample


class MediaTask(ABC, Generic[ItemType]):
    """Videos, images or pairs of images with what is annotated about them: a helper, no framework class.

    The spec's inputs select which of them are read: ``video``, ``image``, or ``left`` and ``right``.
    Without an index input (``video_index``, ``image_index``) the media are repeated, one row for each item.

    The input ``regions`` (``left_regions`` and ``right_regions``) holds features and boxes of regions, which
    ``regions`` names: a folder of .npz files, an LMDB folder, or a file .jsonl (boxes alone), .tsv, .h5. Up
    to ``max_regions`` of them are read, at least ``min_regions`` if their confidence is above
    ``region_confidence``. ``region_image_size``: the edge of the images, for boxes in pixels. A spec with
    regions may do without the media themselves.
    """

    outputs: ClassVar[dict[str, str]]
    query_input: ClassVar[str | None] = None  # the input for a user's text about a file
    items_per_sample = 1
    repeat_media = True
    file_arguments: ClassVar[tuple[str, ...]] = ("regions",)

    def __init__(
        self,
        tokenizer: Tokenizer,
        training: bool = False,
        types: Mapping[str, StreamType] | None = None,
        inputs: Collection[str] | None = None,
        regions: str | None = None,
        max_regions: int = 100,
        min_regions: int = 10,
        region_confidence: float = 0.2,
        region_image_size: int = 0,
    ) -> None:
        at_least(1, max_regions=max_regions, min_regions=min_regions)
        at_least(0, region_image_size=region_image_size)
        self.tokenizer, self.training = tokenizer, training
        self.requested_inputs = frozenset(self.outputs if inputs is None else inputs)
        self.region_inputs = _region_inputs(self.outputs, inputs)
        views = media_views(self.outputs, types or {}, inputs)
        self.views = _views(views, bool(self.region_inputs))
        self.region_limits = (region_confidence, min_regions, max_regions)
        self.region_store = self._opened(regions, region_image_size)
        self.index = "video_index" if self.views == ("video",) else "image_index"

    @abstractmethod
    def read(self, path: Path) -> list[ItemType]:
        """Return the items of an annotation file; each task has its own format."""

    @abstractmethod
    def question(self, text: str) -> ItemType:
        """Return a user's text about some files as an item without an answer."""

    @abstractmethod
    def input_builders(
        self, batch_items: Sequence[BatchItem[ItemType]]
    ) -> dict[str, Callable[[], Any]]:
        """Return functions that build the inputs other than the media."""

    def _opened(self, path: str | None, size: int) -> RegionStore | None:
        """Open the file of regions, if the spec reads any."""
        if not self.region_inputs:
            return None
        if path is None:
            raise ArgumentError(
                "regions",
                f"input '{self.region_inputs[0]}' needs a file: set data.regions",
            )
        from mplug2.data.regions.files import open_regions

        try:
            return open_regions(path, size)
        except UserError as error:
            raise ArgumentError("regions", str(error)) from None

    def _regions(self, samples: Sequence[Sample], view: int) -> Regions:
        """Return the regions of one file of each sample, a row each."""
        assert (
            self.region_store is not None
        )  # a spec that reads regions has opened them
        records: dict[SampleRequest, RegionRecord] = {}
        rows = []
        for sample in samples:
            request = sample.request
            # Several items of one sample read its file once.
            if request not in records:
                stored = self.region_store.read(request.media[view])
                read = confident(stored, *self.region_limits)
                boxes = self.place_boxes(read.boxes, sample)
                records[request] = replace(read, boxes=boxes)
            rows.append(records[request])
        return batch_regions(rows)

    def place_boxes(self, boxes: np.ndarray, sample: Sample) -> np.ndarray:
        """Return boxes in fractions of a file as fractions of the image that the network sees."""
        return boxes

    def extra_record(self, item: ItemType, sample: Sample | None) -> dict[str, Any]:
        """Return what evaluation needs in addition to an item's record."""
        return {}

    def media(self, item: ItemType) -> tuple[str, ...]:
        """Return the names of the files that an item is about."""
        return item.media

    def record(self, item: ItemType, sample: Sample | None = None) -> dict[str, Any]:
        """Return what evaluation and metrics know of an item."""
        return item.record(**self.extra_record(item, sample))

    def encode(
        self, items: Sequence[ItemType], samples: Sequence[Sample]
    ) -> dict[str, Any]:
        """Return the inputs of a batch: stacked media, and builders of the index and of the texts."""
        batch_items: list[BatchItem[ItemType]] = []
        for row, sample in enumerate(samples):
            batch_items += [BatchItem(row, item, sample) for item in sample.items]
        item_to_sample = torch.tensor(
            [entry.row for entry in batch_items], dtype=torch.long
        )

        inputs: dict[str, Any] = {}
        repeat_media = self.repeat_media and self.index not in self.requested_inputs
        for view, name in enumerate(self.views):
            # (samples, 3, frames, height, width) of videos, (samples, 3, height, width) of images
            media = torch.stack([sample.views[view] for sample in samples])
            # A network without an index input pairs each item with a copy of its media.
            inputs[name] = media[item_to_sample] if repeat_media else media
        inputs[self.index] = item_to_sample
        rows = [entry.sample for entry in batch_items] if repeat_media else samples
        # By functions: an input that the goal does not read is not computed.
        for view, name in enumerate(self.region_inputs):
            inputs[name] = partial(self._regions, rows, view)
        return inputs | self.input_builders(batch_items)


def _region_inputs(
    outputs: Mapping[str, str], inputs: Collection[str] | None
) -> tuple[str, ...]:
    """Return the inputs of a spec that hold regions; none if its inputs are not listed."""
    if inputs is None:
        return ()
    available = set(inputs) & set(outputs)
    for names in REGIONS:
        if available.issuperset(names):
            return names
    return ()


def _views(requested: tuple[str, ...], has_regions: bool) -> tuple[str, ...]:
    complete = [views for views in VIEWS if set(views) <= set(requested)]
    if not requested and has_regions:
        return ()
    if len(complete) != 1:
        choices = "; ".join(" and ".join(views) for views in VIEWS)
        read = "several of them" if complete else "none of them"
        raise UserError(
            f"a network must read media by inputs of one of these names: {choices}; it reads {read}"
        )
    return complete[0]
