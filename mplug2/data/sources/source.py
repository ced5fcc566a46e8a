"""What a source of samples must have (docs/extending/source.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from mplug2.data.batch import FailedSample, Sample, SampleRequest


class Source(Protocol):
    """Samples by their position in an epoch; the order follows from (seed, epoch) and nothing else."""

    training: bool  # whether epochs are shuffled and samples augmented
    tokenizer: Any

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
