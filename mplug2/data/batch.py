"""What sources, tasks and loaders pass on: requests of samples, samples, and the batches of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from modules.streams import map_tensors


class SampleRequest(NamedTuple):
    """One sample to read: some items (questions, captions, ...) about the same media, or one item of text.

    It holds its random seed, so no worker needs a state.
    """

    media: tuple[str, ...]  # names of files: none for text, one, or the two of a pair
    items: tuple[int, ...]  # numbers of the items in their source
    seed: tuple[int, ...] = (0, 0)
    padding: bool = False  # a repetition, so that all ranks have equally many samples
    # Number of the media in its source: the same for all samples about them.
    media_id: int = 0
    # Of a mixture: the number of the source that is to read it.
    source: tuple[int, ...] = ()

    @property
    def id(self) -> str:
        """The name of the sample, by which distinct samples are counted: source and first item."""
        return ".".join(str(number) for number in (*self.source, self.items[0]))


@dataclass(frozen=True)
class Sample:
    """A request that was read: its items, and its media as ``views`` (float32 [3 T H W] or [3 H W] each).

    ``failure`` is the reason if they are black. ``crop_geometry`` is what a task with boxes must know of
    how the pixels were cut out. ``source`` is the name of the source it comes from, in a mixture.
    """

    request: SampleRequest
    items: tuple[Any, ...] = ()
    views: tuple[torch.Tensor, ...] = ()
    failure: str | None = None
    crop_geometry: Any = None
    source: str = ""


@dataclass(frozen=True)
class FailedSample:
    """A request with a file that could not be decoded, and the reason.

    ``num_files``: media files that are unusable for this reason: more than one for an archive of them.
    """

    request: SampleRequest
    file: str
    reason: str
    num_files: int = 1


class Batch(NamedTuple):
    """The inputs that a spec declares, by name, with one record for each output row of the goal.

    ``kind`` is the name of the batch in `data.batches`. ``final`` marks the last micro-batch of an optimizer
    step.
    """

    inputs: dict[str, Any]
    records: list[dict[str, Any]]
    kind: str = "train"
    final: bool = True


def pin_memory(value: Any) -> Any:
    """Return a value with its tensors in page-locked memory, so that copies to a GPU overlap with work."""
    return map_tensors(value, torch.Tensor.pin_memory)
