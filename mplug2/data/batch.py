"""What readers and the loader hand on: which samples, and the batch that a network takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch


class Group(NamedTuple):
    """One sample to read: some items (questions, captions, ...) about the same media.

    It holds its random seed, so that no worker needs a state.
    """

    media: tuple[str, ...]  # names of files: one, or the two of a pair
    items: tuple[int, ...]  # numbers in the annotation file
    seed: tuple[int, ...] = (0, 0)
    padding: bool = False  # a repetition, so that all ranks have equally many


@dataclass(frozen=True)
class Sample:
    """A group that was read: for each of its media float32 [3 T H W] or [3 H W]; ``bad`` says why they are
    black.

    ``frame`` is what a reader of boxes needs to know of how the pixels were cut out.
    """

    group: Group
    views: tuple[torch.Tensor, ...]
    bad: str | None = None
    frame: Any = None


@dataclass(frozen=True)
class Broken:
    """A group whose file could not be decoded, and why."""

    group: Group
    file: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """``inputs`` by the names that the spec declares; ``records`` say what each output row of the goal is
    about."""

    inputs: dict[str, Any]
    records: list[dict[str, Any]]

    def _map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        def walk(value: Any) -> Any:
            if isinstance(value, torch.Tensor):
                return change(value)
            return type(value)(*map(walk, value)) if isinstance(value, tuple) else value

        return Batch({name: walk(value) for name, value in self.inputs.items()}, self.records)

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory (called by the data loader, so that copies to a GPU
        overlap)."""
        return self._map(torch.Tensor.pin_memory)
