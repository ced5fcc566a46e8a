"""Micro-batches are read in worker processes; what could not be decoded is replaced in the main process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from mplug2.data.bad_files import BadFiles
from mplug2.data.batch import Batch, FailedSample, Sample, SampleRequest, pin_memory
from mplug2.data.sources.source import Source
from mplug2.runtime.interrupts import ignore_signals

ATTEMPTS = 100  # replacements that are tried before all files count as undecodable

Collate = Callable[[Sequence[Sample]], Batch]


class MicroBatch(NamedTuple):
    """The samples that one forward pass of one rank reads, and where they are in the run."""

    requests: tuple[SampleRequest, ...]
    final: bool  # whether the optimizer step ends with it
    epoch: int
    end: int  # samples of the epoch that are consumed once that step is taken


@dataclass(frozen=True)
class ReadMicroBatch:
    """What a worker returns: a batch, or, if a file could not be decoded, the samples that were read."""

    plan: MicroBatch
    batch: Batch | None
    samples: tuple[Sample | FailedSample, ...] = ()

    def pin_memory(self) -> ReadMicroBatch:
        """Return it with the inputs in page-locked memory (called by torch's data loader)."""
        if self.batch is None:
            return self
        inputs = pin_memory(self.batch.inputs)
        return replace(self, batch=self.batch._replace(inputs=inputs))


class _Planned(Sampler[MicroBatch]):
    """Asks for the plan again whenever the data loader begins to read."""

    def __init__(self, plans: Callable[[], Iterator[MicroBatch]]) -> None:
        self.plans = plans

    def __iter__(self) -> Iterator[MicroBatch]:
        return self.plans()


class _Reads(Dataset[ReadMicroBatch]):
    """Reads planned micro-batches; it runs in the workers."""

    def __init__(self, source: Source, collate: Collate) -> None:
        self.source, self.collate = source, collate

    def __getitem__(self, plan: Any) -> ReadMicroBatch:
        read = tuple(self.source.read(request) for request in plan.requests)
        # Collated in the worker, unless a sample of it has to be replaced first.
        samples = [sample for sample in read if isinstance(sample, Sample)]
        if len(samples) < len(read):
            return ReadMicroBatch(plan, None, read)
        return ReadMicroBatch(plan, self.collate(samples))


class MicroBatchReader:
    """Reads the micro-batches of a plan in order, ``workers`` processes ahead (0: in this process).

    With ``candidates`` (the samples of an epoch) a sample that cannot be decoded is replaced by another one,
    as in training. Without them it keeps its row over black frames, as in evaluation.
    """

    def __init__(
        self,
        source: Source,
        collate: Collate,
        plans: Callable[[], Iterator[MicroBatch]],
        bad_files: BadFiles,
        *,
        candidates: Callable[[int], Sequence[SampleRequest]] | None = None,
        workers: int = 0,
        seed: int = 0,
    ) -> None:
        self.source, self.collate, self.bad_files = source, collate, bad_files
        self.candidates = candidates
        # A separate generator: a loader must not draw from the random numbers that dropout uses.
        self._loader: DataLoader[ReadMicroBatch] = DataLoader(
            _Reads(source, collate),
            # The plan forms the batches: a sample of this loader is a micro-batch.
            batch_size=None,
            sampler=_Planned(plans),
            num_workers=workers,
            collate_fn=_unchanged,
            worker_init_fn=ignore_signals,
            persistent_workers=workers > 0,
            prefetch_factor=2 if workers else None,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator().manual_seed(seed),
        )

    def __iter__(self) -> Iterator[tuple[MicroBatch, Batch]]:
        reads: Iterable[ReadMicroBatch] = self._loader
        for read in reads:
            batch = read.batch
            # Replaced here and not in the worker: bad files are counted over all workers.
            if batch is None:
                samples = []
                for sample in read.samples:
                    samples.append(self._usable(sample, read.plan.epoch))
                batch = self.collate(samples)
            yield read.plan, batch._replace(final=read.plan.final)

    def _usable(self, sample: Sample | FailedSample, epoch: int) -> Sample:
        if isinstance(sample, Sample):
            return sample
        self.bad_files.add(sample)
        if self.candidates is None:
            return self.source.blank(sample)
        return self._replacement(sample.request, self.candidates(epoch))

    def _replacement(
        self, request: SampleRequest, candidates: Sequence[SampleRequest]
    ) -> Sample:
        """Return another sample of the epoch, drawn from the seed of the one it replaces."""
        rng = np.random.default_rng([*request.seed, request.items[0], 1])
        for _ in range(ATTEMPTS):
            sample = self.source.read(candidates[int(rng.integers(len(candidates)))])
            if isinstance(sample, Sample):
                return sample
            self.bad_files.add(sample)
        raise self.bad_files.error(f"none of {ATTEMPTS} samples could be used")


def _unchanged(read: Any) -> Any:
    return read
