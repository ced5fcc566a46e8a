"""A source of other sources: each sample is drawn from one of them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from mplug2.data.batch import FailedSample, Sample, SampleRequest
from mplug2.data.lazy_sequence import LazySequence
from mplug2.data.sources.source import Source
from registry.errors import UserError


class MixtureSource:
    """Samples of several sources, mixed sample by sample.

    Without weights every sample of every source comes once an epoch, in one common order. With weights the
    source of each position is drawn on its own; an epoch is as long as all sources together, and each source
    has separate epochs: none of its samples comes again before all others have come. The draw
    follows from (seed, epoch, position). All sources must have the same task with the same options, since a
    batch holds samples of several of them.
    """

    def __init__(
        self, sources: Mapping[str, Source], weights: Mapping[str, float | None]
    ) -> None:
        """Take sources and their weights by name; weights of None mean in proportion to the sizes."""
        self.source_names = tuple(sources)
        self.sources = tuple(sources.values())
        self.sizes = np.array([len(source) for source in self.sources])
        if not len(self.sources) or not self.sizes.all():
            raise UserError("a mixture needs sources, and each of them samples")
        self.weights: np.ndarray | None = None
        if any(weights.get(name) is not None for name in self.source_names):
            numbers = []
            for name, size in zip(self.source_names, self.sizes, strict=True):
                weight = weights.get(name)
                numbers.append(size if weight is None else weight)
            self.weights = np.array(numbers, dtype=float) / sum(numbers)
        first = self.sources[0]
        self.task, self.training, self.collate = (
            first.task,
            first.training,
            first.collate,
        )
        self._orders: dict[tuple[int, int, int], Sequence[SampleRequest]] = {}

    def __len__(self) -> int:
        return int(self.sizes.sum())

    @property
    def num_records(self) -> int | None:
        """The records of one pass over all sources; None if one of them does not know its number."""
        total = 0
        for source in self.sources:
            number: int | None = getattr(source, "num_records", None)
            if number is None:
                return None
            total += number
        return total

    def requests(self, epoch: int, seed: int) -> Sequence[SampleRequest]:
        """Return the samples of an epoch; in evaluation the sources come one after the other."""
        chosen = self._chosen(epoch, seed)
        earlier = self.draws(epoch, 0, seed)
        before = np.array([earlier[name] for name in self.source_names])
        return _MixedRequests(self, chosen, before, seed)

    def _chosen(self, epoch: int, seed: int) -> np.ndarray:
        """Return the number of the source of each position."""
        by_source = np.repeat(np.arange(len(self.sources)), self.sizes)
        if not self.training:
            return by_source
        rng = np.random.default_rng([seed, epoch])
        if self.weights is None:
            return rng.permutation(by_source)
        return rng.choice(len(self.sources), size=len(self), p=self.weights)

    def draws(self, epoch: int, samples: int, seed: int) -> dict[str, int]:
        """Return how many samples of each source have come before a position, in earlier epochs too."""
        if self.weights is None or not self.training:
            counts = self.sizes * epoch
        else:
            # With weights an epoch does not have each sample once, so earlier epochs are drawn again.
            counts = np.zeros(len(self.sources), dtype=int)
            for earlier in range(epoch):
                counts = counts + self._count(self._chosen(earlier, seed))
        counts = counts + self._count(self._chosen(epoch, seed)[:samples])
        draws = {}
        for name, count in zip(self.source_names, counts, strict=True):
            draws[name] = int(count)
        return draws

    def _count(self, chosen: np.ndarray) -> np.ndarray:
        """Return how many of some positions have each source."""
        return np.bincount(chosen, minlength=len(self.sources))

    def effective_epochs(self, epoch: int, samples: int, seed: int) -> dict[str, float]:
        """Return how often each source has been gone through before a position; 1.5: half of it twice."""
        draws = self.draws(epoch, samples, seed)
        epochs = {}
        for name, size in zip(self.source_names, self.sizes, strict=True):
            epochs[name] = draws[name] / int(size)
        return epochs

    def part_request(self, number: int, draw: int, seed: int) -> SampleRequest:
        """Return the ``draw``-th sample that comes from a source, over all epochs."""
        part_epoch, position = divmod(draw, int(self.sizes[number]))
        key = (number, part_epoch, seed)
        if key not in self._orders:
            # Neighbouring epochs of a source are read at once, when workers are ahead.
            earlier = [other for other in self._orders if other[0] == number]
            for other in earlier[:-1]:
                del self._orders[other]
            self._orders[key] = self.sources[number].requests(part_epoch, seed)
        request = self._orders[key][position]
        # Media of different sources are different, whatever their numbers are.
        media_id = request.media_id * len(self.sources) + number
        return request._replace(
            source=(number, *request.source),
            media_id=media_id,
            seed=(*request.seed, number),
        )

    def read(self, request: SampleRequest) -> Sample | FailedSample:
        """Return one sample, read by its source."""
        number, *inner = request.source
        read = self.sources[number].read(request._replace(source=tuple(inner)))
        if isinstance(read, FailedSample):
            return replace(read, request=request)
        return replace(read, request=request, source=self.source_names[number])

    def blank(self, failed: FailedSample) -> Sample:
        """Return a stand-in for a sample that cannot be decoded."""
        number, *inner = failed.request.source
        # Mixtures may be nested: each one takes its number off the front.
        request = failed.request._replace(source=tuple(inner))
        sample = self.sources[number].blank(replace(failed, request=request))
        return replace(sample, request=failed.request, source=self.source_names[number])

    def names(self) -> list[str]:
        """Return the names of the media files of all sources."""
        return [name for source in self.sources for name in source.names()]

    @property
    def items(self) -> list[Any]:
        """The items of all sources."""
        return [item for source in self.sources for item in source.items]

    def records(self) -> list[dict[str, Any]]:
        """Return what evaluation would know of every item, without reading its media."""
        return [record for source in self.sources for record in source.records()]

    def num_tokens(self, request: SampleRequest) -> int:
        """Return the text tokens of a sample."""
        number, *inner = request.source
        return self.sources[number].num_tokens(request._replace(source=tuple(inner)))

    @property
    def location(self) -> str:
        """Where the items of the sources come from, for messages."""
        return ", ".join(
            getattr(source, "location", "items") for source in self.sources
        )

    @cached_property
    def content_checksum(self) -> int:
        """A number that changes if the checksum of the annotations of a source does."""
        parts = [getattr(source, "content_checksum", None) for source in self.sources]
        return zlib.crc32(repr(parts).encode())

    def fingerprint(self) -> int:
        """Return a number that changes if a source or a weight does."""
        parts = [source.fingerprint() for source in self.sources]
        # Other weights draw other samples, so a position would mean others.
        weights = [] if self.weights is None else self.weights.tolist()
        return zlib.crc32(repr((parts, weights)).encode())


class _MixedRequests(LazySequence[SampleRequest]):
    """The samples of an epoch of a mixture, made when they are asked for."""

    def __init__(
        self, mixture: MixtureSource, chosen: np.ndarray, before: np.ndarray, seed: int
    ) -> None:
        self.mixture, self.chosen, self.seed = mixture, chosen, seed
        # For each position: how many samples of its source came before it.
        self.draws = np.empty(len(chosen), dtype=int)
        for number in range(len(mixture.sources)):
            positions = np.flatnonzero(chosen == number)
            self.draws[positions] = before[number] + np.arange(len(positions))

    def __len__(self) -> int:
        return len(self.chosen)

    def at(self, position: int) -> SampleRequest:
        """Return the sample at a position, by the source that was drawn for it."""
        number, draw = int(self.chosen[position]), int(self.draws[position])
        return self.mixture.part_request(number, draw, self.seed)
