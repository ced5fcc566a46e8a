"""Loaders: endless batches for training from a position that can be saved, and one pass for evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mplug2.data.bad_files import BadFileCounter, BadFiles
from mplug2.data.batch import Batch, SampleRequest
from mplug2.data.batching import BatchFormation, FixedBatches
from mplug2.data.reading import Collate, MicroBatch, MicroBatchReader
from mplug2.data.sources.source import Source, decoder_of
from registry.errors import UserError


class EpochOrder:
    """The samples of one epoch of a source, by position; positions past its end repeat its first samples."""

    def __init__(self, source: Source, epoch: int, seed: int) -> None:
        self.source, self.epoch = source, epoch
        self.requests: Sequence[SampleRequest] = source.requests(epoch, seed)

    def __len__(self) -> int:
        return len(self.requests)

    def __getitem__(self, position: int) -> SampleRequest:
        num_samples = len(self.requests)
        request = self.requests[position % num_samples]
        return request if position < num_samples else request._replace(padding=True)

    def num_tokens(self, position: int) -> int:
        """Return the number of text tokens of a sample."""
        return self.source.num_tokens(self[position])


class _Ordered:
    """What both loaders share: the order of an epoch, made once, and this rank's part of it."""

    def __init__(
        self,
        source: Source,
        formation: BatchFormation,
        rank: int,
        world: int,
        seed: int,
    ) -> None:
        if not 0 <= rank < world:
            raise UserError(
                f"rank must be within the number of ranks (got {rank} of {world})"
            )
        self.source, self.formation = source, formation
        self.rank, self.world, self.seed = rank, world, seed
        self._orders: dict[int, EpochOrder] = {}

    @property
    def decode(self) -> Callable[[Sequence[int]], str]:
        """What turns generated ids into text: the tokenizer of the task, if it has one."""
        return decoder_of(self.source)

    def order(self, epoch: int) -> EpochOrder:
        """Return the order of an epoch; it takes seconds to make for a large source, so two are kept."""
        if epoch not in self._orders:
            # Workers read ahead into the next epoch while this one still needs its order for replacements.
            kept = list(self._orders.items())[-1:]
            self._orders = dict(kept)
            self._orders[epoch] = EpochOrder(self.source, epoch, self.seed)
        return self._orders[epoch]

    def epoch_plans(self, epoch: int, start: int) -> Iterator[MicroBatch]:
        """Yield this rank's micro-batches from position ``start`` to the end of an epoch."""
        order = self.order(epoch)
        for step in self.formation.steps(order, start, self.rank, self.world):
            last = len(step.micro_batches) - 1
            for index, positions in enumerate(step.micro_batches):
                requests = tuple(order[position] for position in positions)
                yield MicroBatch(requests, index == last, epoch, step.end)


class Loader(_Ordered):
    """Iterates over the batches of a source for training: endless, from the position it is at.

    An optimizer step consists of the micro-batches up to and including the one marked ``final``. A sample
    depends on (seed, epoch, item) alone, so workers, ranks and restarts never change what is read. All ranks
    have equally many micro-batches in each step, and together they read what one rank would.

    The position counts samples over all ranks that completed steps have consumed: a run may resume with
    other ranks, batch size and workers, and every sample still comes exactly once an epoch. It moves on when
    the final micro-batch of a step is handed out.

    A file that cannot be decoded is named in the log and collected in ``bad`` (file: reason), and another
    sample takes its place. More than ``max_bad_fraction`` of all files raise UserError; ``counter`` counts
    them over all ranks.
    """

    def __init__(
        self,
        source: Source,
        collate: Collate,
        formation: BatchFormation,
        *,
        kind: str = "train",
        rank: int = 0,
        world: int = 1,
        seed: int = 0,
        workers: int = 0,
        max_bad_fraction: float = 0.01,
        counter: BadFileCounter | None = None,
    ) -> None:
        super().__init__(source, formation, rank, world, seed)
        if len(source) == 0:
            raise UserError("a source for training must have samples")
        self.kind = kind
        self._epoch = self._samples = 0
        bad_files = BadFiles(
            len(source.names()), max_bad_fraction, counter, "replaced by another sample"
        )
        self._bad_files = bad_files
        self._reader = MicroBatchReader(
            source,
            collate,
            self._plans,
            bad_files,
            candidates=lambda epoch: self.order(epoch).requests,
            workers=workers,
            seed=seed,
        )

    @property
    def bad(self) -> dict[str, str]:
        """The files that this rank could not decode, with the reasons."""
        return self._bad_files.reasons

    def _plans(self) -> Iterator[MicroBatch]:
        """Yield this rank's micro-batches from the current position on, epoch after epoch."""
        epoch, start = self._epoch, self._samples
        while True:
            yield from self.epoch_plans(epoch, start)
            epoch, start = epoch + 1, 0

    def __iter__(self) -> Iterator[Batch]:
        for plan, batch in self._reader:
            # The position moves with completed steps, so that a resumed run repeats no half step.
            if plan.final:
                self._move_to(plan.epoch, plan.end)
            yield batch._replace(kind=self.kind)

    def _move_to(self, epoch: int, samples: int) -> None:
        # The end of an epoch is stored as the start of the next one.
        if samples >= len(self.source):
            epoch, samples = epoch + 1, 0
        self._epoch, self._samples = epoch, samples

    def state_dict(self) -> dict[str, int]:
        """Return the position: the epoch, and how many of its samples completed steps have consumed."""
        return {"epoch": self._epoch, "samples": self._samples, **self._data_state()}

    def _data_state(self) -> dict[str, int]:
        """Return what identifies the data, so that a position means the same samples."""
        state = {
            "samples_per_epoch": len(self.source),
            "fingerprint": self.source.fingerprint(),
            "seed": self.seed,
        }
        checksum = getattr(self.source, "content_checksum", None)
        if checksum is not None:
            state["content"] = checksum
        return state

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from a position that `state_dict` returned; UserError in mid-epoch if the data changed."""
        data_state = self._data_state()
        # What an older checkpoint did not store cannot have changed.
        before = {name: state.get(name, value) for name, value in data_state.items()}
        if state["samples"] and before != data_state:
            changed = f"{getattr(self.source, 'location', 'its source')} has changed"
            if before["seed"] != self.seed:
                changed = (
                    f"the seed of its order was {before['seed']} and is {self.seed}"
                )
            raise UserError(
                f"batch '{self.kind}': to resume within an epoch, its data must be unchanged, but {changed} "
                f"(got {data_state['samples_per_epoch']} samples, {before['samples_per_epoch']} "
                "when the checkpoint was written). Restore it, or resume from a checkpoint at the end of an "
                "epoch"
            )
        self._epoch, self._samples = state["epoch"], state["samples"]

    def steps_in(self, epoch: int) -> int:
        """Return the optimizer steps of an epoch."""
        fixed = self.formation.steps_per_epoch(len(self.source))
        if fixed is not None:
            return fixed
        # Batches by tokens: the number of steps is known only after all lengths are.
        order = self.order(epoch)
        return sum(1 for _ in self.formation.steps(order, 0, self.rank, self.world))

    def steps_per_epoch(self) -> int | None:
        """Return the optimizer steps of an epoch; None if they vary from epoch to epoch (see `steps_in`)."""
        return self.formation.steps_per_epoch(len(self.source))


class EvalLoader(_Ordered):
    """Iterates once over a source, in its order, ``batch_size`` samples of this rank at a time.

    Ranks get equally many samples: what is repeated for that is marked ``padding`` in its records. The rows
    of a file that cannot be decoded stay, over black frames, and their records have ``bad``: such an answer
    counts as wrong. More than ``max_bad_fraction`` of all files raise UserError.
    """

    def __init__(
        self,
        source: Source,
        collate: Collate,
        *,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        seed: int = 0,
        workers: int = 0,
        max_bad_fraction: float = 0.01,
        counter: BadFileCounter | None = None,
    ) -> None:
        formation = FixedBatches(batch_size * world, batch_size)
        super().__init__(source, formation, rank, world, seed)
        self._bad_files = BadFiles(
            len(source.names()), max_bad_fraction, counter, "its rows count as wrong"
        )
        self._reader = MicroBatchReader(
            source, collate, self._plans, self._bad_files, workers=workers, seed=seed
        )

    @property
    def bad(self) -> dict[str, str]:
        """The files that this rank could not decode, with the reasons."""
        return self._bad_files.reasons

    @property
    def num_records(self) -> int | None:
        """The records of the split over all ranks, without padding; None if the source does not know."""
        return getattr(self.source, "num_records", None)

    def _plans(self) -> Iterator[MicroBatch]:
        return self.epoch_plans(0, 0)

    def __iter__(self) -> Iterator[Batch]:
        for _, batch in self._reader:
            yield batch

    def __len__(self) -> int:
        """Return the number of batches, the same on all ranks."""
        return self.formation.steps_per_epoch(len(self.source)) or 0
