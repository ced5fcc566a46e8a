"""How the samples of an epoch form batches: which samples a rank reads in each micro-batch of each step.

Positions count samples of the epoch over all ranks. An optimizer step takes the next samples in order, and
each micro-batch deals its samples to the ranks alternately. All ranks have equally many micro-batches in each
step, and a step never crosses an epoch. A position past the end of the epoch means a repeated sample
(padding).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from registry.errors import UserError


@dataclass(frozen=True)
class Step:
    """One optimizer step of one rank: the positions that each micro-batch reads, and where the step ends."""

    micro_batches: tuple[tuple[int, ...], ...]
    end: int  # samples of the epoch that are consumed, over all ranks, once the step is taken


class Epoch(Protocol):
    """The samples of one epoch, as far as a batch formation must know them."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def num_tokens(self, position: int) -> int:
        """Return the number of text tokens of a sample."""
        ...


class BatchFormation(Protocol):
    """A rule that cuts an epoch into optimizer steps; it may depend on nothing that differs between runs."""

    def steps(self, epoch: Epoch, start: int, rank: int, world: int) -> Iterator[Step]:
        """Yield the steps of a rank from position ``start`` to the end of the epoch."""
        ...

    def steps_per_epoch(self, num_samples: int) -> int | None:
        """Return the optimizer steps of an epoch; None if their number varies from epoch to epoch."""
        ...


@dataclass(frozen=True)
class FixedBatches:
    """Steps of ``batch_size`` samples over all ranks, ``micro_batch`` samples to a micro-batch of a rank."""

    batch_size: int
    micro_batch: int

    def steps(self, epoch: Epoch, start: int, rank: int, world: int) -> Iterator[Step]:
        """Yield the steps of a rank; the last one of an epoch may be smaller."""
        if self.batch_size % world:
            raise UserError(
                f"batch_size must be a multiple of the number of ranks (got {self.batch_size} on {world} "
                f"ranks). Use {self.batch_size // world * world or world}, or another number of ranks"
            )
        num_samples = len(epoch)
        for begin in range(start, num_samples, self.batch_size):
            end = min(begin + self.batch_size, num_samples)
            # Ranks exchange features, so all of them need equally many samples: the last step is padded.
            padded_end = end + -(end - begin) % world
            yield Step(tuple(self._micro_batches(begin, padded_end, rank, world)), end)

    def _micro_batches(
        self, begin: int, end: int, rank: int, world: int
    ) -> Iterator[tuple[int, ...]]:
        stride = self.micro_batch * world
        for first in range(begin, end, stride):
            last = min(first + stride, end)
            yield tuple(range(first + rank, last, world))

    def steps_per_epoch(self, num_samples: int) -> int | None:
        """Return the optimizer steps of an epoch."""
        return -(-num_samples // self.batch_size)


@dataclass(frozen=True)
class TokenBatches:
    """Steps of at most ``tokens`` text tokens over all ranks; a micro-batch of a rank fits ``micro_tokens``.

    A step counts the tokens of its samples. A micro-batch counts with padding, since memory does: samples
    times the longest of them. A step holds at least one sample for each rank. Samples at its end that cannot
    be dealt to all ranks begin the next step.
    """

    tokens: int
    micro_tokens: int

    def steps(self, epoch: Epoch, start: int, rank: int, world: int) -> Iterator[Step]:
        """Yield the steps of a rank; UserError for a text that alone exceeds ``micro_tokens``."""
        num_samples, begin = len(epoch), start
        lengths: list[int] = []  # of the samples from `begin` on
        while begin < num_samples:
            end = self._step_end(epoch, begin, world, lengths)
            rounds = self._rounds(lengths[: end - begin], begin, world)
            first, last = rounds[-1]
            # Too few samples for all ranks: they begin the next step instead.
            if last - first < world and end < num_samples and len(rounds) > 1:
                rounds.pop()
                end = first
            micro_batches = []
            for first, last in rounds:
                # Only the last round of an epoch can be short of samples: each rank gets one.
                padded_last = max(last, first + world)
                micro_batches.append(tuple(range(first + rank, padded_last, world)))
            yield Step(tuple(micro_batches), end)
            del lengths[: end - begin]
            begin = end

    def _step_end(
        self, epoch: Epoch, begin: int, world: int, lengths: list[int]
    ) -> int:
        """Return where a step ends; ``lengths`` is filled with the tokens of its samples."""
        total, num_samples = 0, len(epoch)
        for offset in range(num_samples - begin):
            if offset == len(lengths):
                lengths.append(self._num_tokens(epoch, begin + offset))
            total += lengths[offset]
            if total > self.tokens and offset >= world:
                return begin + offset
        return num_samples

    def _num_tokens(self, epoch: Epoch, position: int) -> int:
        length = epoch.num_tokens(position)
        if length > self.micro_tokens:
            raise UserError(
                f"a text must fit a micro-batch of {self.micro_tokens} tokens (got {length} tokens at "
                f"position {position}). Have the task cut texts, or raise the tokens of train.micro_batch"
            )
        return length

    def _rounds(
        self, lengths: Sequence[int], begin: int, world: int
    ) -> list[tuple[int, int]]:
        """Return the ranges of positions that are dealt together, one micro-batch for each rank."""
        rounds = []
        first, counts, longest = 0, [0] * world, [0] * world
        for offset, length in enumerate(lengths):
            rank = (offset - first) % world
            # With padding, each sample of a rank takes as much as the longest of them.
            if (counts[rank] + 1) * max(longest[rank], length) > self.micro_tokens:
                rounds.append((begin + first, begin + offset))
                first, counts, longest, rank = offset, [0] * world, [0] * world, 0
            counts[rank] += 1
            longest[rank] = max(longest[rank], length)
        rounds.append((begin + first, begin + len(lengths)))
        return rounds

    def steps_per_epoch(self, num_samples: int) -> int | None:
        """Return None: the number of steps depends on which texts meet."""
        return None
