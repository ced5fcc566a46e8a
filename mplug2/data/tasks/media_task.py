"""What the tasks over videos and images share: their media, the index between media and text, records."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

import torch

from mplug2.data.batch import Sample
from mplug2.data.media.folder import media_views
from mplug2.data.text import Tokenizer
from registry.errors import UserError

if TYPE_CHECKING:
    from registry import StreamType

# Which inputs may hold the media, in a spec that declares them.
VIEWS = (("video",), ("image",), ("left", "right"))


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
    """

    outputs: ClassVar[dict[str, str]]
    query_input: ClassVar[str | None] = None  # the input for a user's text about a file
    items_per_sample = 1
    repeat_media = True

    def __init__(
        self,
        tokenizer: Tokenizer,
        training: bool = False,
        types: Mapping[str, StreamType] | None = None,
        inputs: Collection[str] | None = None,
    ) -> None:
        self.tokenizer, self.training = tokenizer, training
        self.requested_inputs = frozenset(self.outputs if inputs is None else inputs)
        self.views = _views(media_views(self.outputs, types or {}, inputs))
        self.index = "video_index" if self.views == ("video",) else "image_index"

    @abstractmethod
    def read(self, path: Path) -> list[ItemType]:
        """Return the items of an annotation file; each task has its own format."""

    @abstractmethod
    def question(self, text: str) -> ItemType:
        """Return a user's text about some files as an item without an answer."""

    @abstractmethod
    def input_builders(self, batch_items: Sequence[BatchItem[ItemType]]) -> dict[str, Callable[[], Any]]:
        """Return functions that build the inputs other than the media."""

    def extra_record(self, item: ItemType, sample: Sample | None) -> dict[str, Any]:
        """Return what evaluation needs in addition to an item's record."""
        return {}

    def media(self, item: ItemType) -> tuple[str, ...]:
        """Return the names of the files that an item is about."""
        return item.media

    def record(self, item: ItemType, sample: Sample | None = None) -> dict[str, Any]:
        """Return what evaluation and metrics know of an item."""
        return item.record(**self.extra_record(item, sample))

    def encode(self, items: Sequence[ItemType], samples: Sequence[Sample]) -> dict[str, Any]:
        """Return the inputs of a batch: stacked media, and builders of the index and of the texts."""
        batch_items: list[BatchItem[ItemType]] = []
        for row, sample in enumerate(samples):
            batch_items += [BatchItem(row, item, sample) for item in sample.items]
        item_to_sample = torch.tensor([entry.row for entry in batch_items])

        inputs: dict[str, Any] = {}
        repeat_media = self.repeat_media and self.index not in self.requested_inputs
        for view, name in enumerate(self.views):
            media = torch.stack([sample.views[view] for sample in samples])
            inputs[name] = media[item_to_sample] if repeat_media else media
        inputs[self.index] = item_to_sample
        return inputs | self.input_builders(batch_items)


def _views(requested: tuple[str, ...]) -> tuple[str, ...]:
    complete = [views for views in VIEWS if set(views) <= set(requested)]
    if len(complete) != 1:
        choices = "; ".join(" and ".join(views) for views in VIEWS)
        read = "several of them" if complete else "none of them"
        raise UserError(
            f"a network must read media by inputs of one of these names: {choices}; it reads {read}"
        )
    return complete[0]
