"""What a source of samples must have, and what it may have (docs/extending/source.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from mplug2.data.batch import Batch, FailedSample, Sample, SampleRequest


class Source(Protocol):
    """Samples by their position in an epoch; the order follows from (seed, epoch) and nothing else.

    It may also have ``location: str``, where its items come from, for messages, and ``content_checksum:
    int``, a checksum of its annotations: `fingerprint` alone may miss lines that were changed in place.

    A source is registered by the key that names it in a split: `train: {path: ...}` is the source `path`,
    whose constructor takes ``path``, the other keys that it declares, and of ``task``, ``types``, ``inputs``
    and ``training`` those that it declares. It may derive from `ItemSource`.
    """

    task: Any  # how its items become inputs
    training: bool  # whether epochs are shuffled and samples augmented

    @property
    def collate(self) -> Callable[[Sequence[Sample]], Batch]:
        """What makes batches of its samples."""
        ...

    @property
    def items(self) -> Sequence[Any]:
        """All items, as the task has read them."""
        ...

    def __len__(self) -> int:
        """Return the number of samples of an epoch, which is the same for every epoch."""
        ...

    def requests(self, epoch: int, seed: int) -> Sequence[SampleRequest]:
        """Return the samples of an epoch in order. It may be lazy: it is indexed by position."""
        ...

    def read(self, request: SampleRequest) -> Sample | FailedSample:
        """Read one sample, in any worker and any order: it depends on the request alone."""
        ...

    def blank(self, failed: FailedSample) -> Sample:
        """Return a stand-in for a sample that cannot be decoded, so that evaluation keeps its rows."""
        ...

    def names(self) -> Sequence[str]:
        """Return the names of all media files; none for text."""
        ...

    def records(self) -> list[dict[str, Any]]:
        """Return what evaluation would know of every item, without reading its media."""
        ...

    def num_tokens(self, request: SampleRequest) -> int:
        """Return the number of text tokens of a sample; UserError if they are not counted."""
        ...

    def fingerprint(self) -> int:
        """Return a number that changes if the data does, so that no run resumes within other data."""
        ...


def decoder_of(source: Source) -> Callable[[Sequence[int]], str]:
    """Return what turns token ids into text: the tokenizer of the source's task.

    Without a tokenizer the text of ids is the list of their numbers.
    """
    tokenizer = getattr(source.task, "tokenizer", None)
    if tokenizer is None:
        return str
    decode: Callable[[Sequence[int]], str] = tokenizer.decode
    return decode
