"""Batches for one rank: in a seeded order that can be resumed anywhere, with undecodable files counted and
replaced."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from mplug2.data.bad_files import BadFileCounter, shared_tally
from mplug2.data.batch import Batch, Broken, Group, Sample
from mplug2.data.text import Tokenizer
from mplug2.runtime.interrupts import ignore_signals
from registry.errors import UserError

if TYPE_CHECKING:
    from mplug2.data.tasks.reader import MediaReader
    from registry import Spec, StreamType

log = logging.getLogger(__name__)

_SHOWN = 20  # files that a message lists
_TRIES = 100  # replacements that are tried before all files are taken for broken


def build_loader(
    spec: Spec,
    types: dict[str, StreamType],
    split: str,
    *,
    rank: int = 0,
    world: int = 1,
    seed: int = 0,
    batch: int | None = None,
    train: bool = False,
) -> Loader:
    """Return the loader of one split of a spec; ``batch`` counts samples (videos) per rank, ``data.seed``
    wins over seed."""
    own_seed = spec.data.get("seed")
    return Loader(
        build_reader(spec, types, split, train=train),
        batch=batch or spec.train["batch"],
        rank=rank,
        world=world,
        seed=seed if own_seed is None else own_seed,
        workers=spec.data["workers"],
        max_bad=spec.data["max_bad"],
        tally=shared_tally(),
    )


def build_reader(
    spec: Spec,
    types: dict[str, StreamType],
    split: str,
    *,
    train: bool = False,
    without: Collection[str] = (),
) -> MediaReader[Any]:
    """Return the data set of one split: the reader that ``data.kind`` names, with the arguments of the
    spec but those of ``without``."""
    from registry import TASKS
    from registry.language.schema import DATA

    given = spec.data.get(split)
    if not isinstance(given, dict):
        raise UserError(
            f"{spec.place('data')}: data must have a section '{split}' ({{path: ..., media: ...}}), "
            "but has none"
        )
    if not spec.data.get("tokenizer"):
        raise UserError(
            f"{spec.place('data')}: data must name its tokenizer, such as `tokenizer: bert-base-uncased`"
        )
    arguments: dict[str, Any] = {name: value for name, value in spec.data.items() if name not in DATA} | given
    arguments = {name: value for name, value in arguments.items() if name not in without}
    supplied = {"types": types, "tokenizer": load_tokenizer(spec), "split": split}
    reader = TASKS.load(spec.data["kind"])
    return reader(**arguments, **supplied, training=train, spec=spec, inputs=frozenset(spec.inputs))


def load_tokenizer(spec: Spec) -> Tokenizer:
    """Return the tokenizer that ``data.tokenizer`` names; SpecError where modules know fewer words than it
    has."""
    from registry import MODULES, Problem, SpecError

    tokenizer = Tokenizer.load(spec.data["tokenizer"])
    problems = []
    for name, entry in spec.modules.items():
        known = entry.arguments.get("vocab")
        if known is None and (argument := MODULES.declaration(entry.use).arguments.get("vocab")):
            known = argument.default
        if isinstance(known, int) and known < tokenizer.vocab_size:
            message = (
                f"vocab of '{name}' must be at least {tokenizer.vocab_size}, the words of "
                f"{tokenizer.source}, but is {known}"
            )
            hint = f"write vocab: {tokenizer.vocab_size}, or name another data.tokenizer"
            problems.append(Problem(spec.place("modules", name, "vocab"), message, hint))
    if problems:
        raise SpecError(problems)
    return tokenizer


class Loader:
    """Iterates over the batches of an epoch; every rank gets the same number of them.

    ``set_epoch(epoch, start=k)`` chooses the order and passes over the first k batches without reading them.
    A sample depends on (seed, epoch, sample) alone, so neither the number of workers nor a restart changes
    what is read; and the ranks together read in one step what a single rank with their joint batch size
    would.

    A file that cannot be decoded is named in the log and collected in ``bad`` (file: reason). In training
    another sample takes its place, with that sample's own questions. In evaluation its questions keep their
    rows, over black frames, and their records say ``bad``: such an answer counts as wrong. More than
    ``max_bad`` of all files raise UserError; ``tally`` counts them over all ranks.
    """

    def __init__(
        self,
        dataset: MediaReader[Any],
        *,
        batch: int,
        rank: int = 0,
        world: int = 1,
        seed: int = 0,
        workers: int = 0,
        max_bad: float = 0.01,
        tally: BadFileCounter | None = None,
    ) -> None:
        self.dataset, self.seed = dataset, seed
        self.bad: dict[str, str] = {}
        self.tally = tally or BadFileCounter()
        self.allowed = max_bad * len(dataset.names())
        self.order = RankOrder(dataset, batch, rank, world, seed)
        # a generator of its own: a loader must not draw from the random numbers that dropout goes on with
        self._loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_sampler=self.order,
            num_workers=workers,
            collate_fn=self._collate,
            worker_init_fn=ignore_signals,
            persistent_workers=workers > 0,
            prefetch_factor=2 if workers else None,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator().manual_seed(seed),
        )

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch, and how many of its batches are already done."""
        self.order.epoch, self.order.start = epoch, start

    def __len__(self) -> int:
        """The number of batches of the whole epoch."""
        return self.order.batches()

    def __iter__(self) -> Iterator[Batch]:
        for item in self._loader:
            yield item if isinstance(item, Batch) else self._mend(item)

    def _collate(self, samples: list[Sample | Broken]) -> Batch | list[Sample | Broken]:
        """In the worker: a batch, or, where a file was broken, its samples, for the main process to mend."""
        good = [sample for sample in samples if isinstance(sample, Sample)]
        return self.dataset.collate(good) if len(good) == len(samples) else samples

    def _mend(self, samples: list[Sample | Broken]) -> Batch:
        return self.dataset.collate([self._whole(sample) for sample in samples])

    def _whole(self, sample: Sample | Broken) -> Sample:
        if isinstance(sample, Sample):
            return sample
        self._note(sample)
        return self._another(sample.group) if self.dataset.training else self.dataset.black(sample)

    def _another(self, group: Group) -> Sample:
        """Another sample of the epoch, drawn from the seed of the one it replaces."""
        rng = np.random.default_rng([*group.seed, group.items[0], 1])
        groups = self.order.groups()
        for _ in range(_TRIES):
            sample = self.dataset[groups[int(rng.integers(len(groups)))]]
            if isinstance(sample, Sample):
                return sample
            self._note(sample)
        raise UserError(self._list(f"none of {_TRIES} samples could be decoded", len(self.bad)))

    def _note(self, broken: Broken) -> None:
        if broken.file in self.bad:
            return
        self.bad[broken.file] = broken.reason
        done = "replaced by another sample" if self.dataset.training else "its questions count as wrong"
        log.warning("cannot decode %s: %s (%s)", broken.file, broken.reason, done)
        broken_files = self.tally.add(broken.file)
        if broken_files > self.allowed:
            share = f"{broken_files} of {len(self.dataset.names())} files"
            rule = f"data.max_bad allows {self.allowed:g} of them"
            hint = "`mplug2 data check` lists all, `quarantine:` leaves them out"
            raise UserError(self._list(f"{share} cannot be decoded, but {rule}; {hint}", broken_files))

    def _list(self, message: str, broken_files: int) -> str:
        """The message with the files that this rank met."""
        lines = [f"  {reason}" for reason in list(self.bad.values())[:_SHOWN]]
        more = broken_files - len(lines)
        return "\n".join([message + ":", *lines, *([f"  and {more} more"] if more > 0 else [])])


class RankOrder(Sampler[list[Group]]):
    """The batches of one rank: global batches are cut from one seeded order, and each rank takes every
    world-th sample."""

    def __init__(self, dataset: MediaReader[Any], batch: int, rank: int, world: int, seed: int) -> None:
        if batch < 1 or not 0 <= rank < world:
            raise ValueError(
                f"batch must be positive and rank within world, but are {batch}, {rank} of {world}"
            )
        self.dataset, self.batch, self.rank, self.world, self.seed = dataset, batch, rank, world, seed
        self.epoch = self.start = 0
        self._known: tuple[int, list[Group]] | None = None
        self._samples = len(self.groups())  # the same in every epoch

    def groups(self) -> list[Group]:
        """Return the samples of the epoch, over all ranks; made once, for that takes seconds where there are
        many."""
        if self._known is None or self._known[0] != self.epoch:
            self._known = self.epoch, self.dataset.groups(self.epoch, self.seed)
        return self._known[1]

    def batches(self) -> int:
        """Return the number of batches of an epoch, on this rank as on every other."""
        return -(-self._samples // (self.world * self.batch))

    def __len__(self) -> int:
        return self.batches() - self.start

    def __iter__(self) -> Iterator[list[Group]]:
        groups = self.groups()
        lacking = -len(groups) % self.world
        again = [groups[i % len(groups)]._replace(padding=True) for i in range(lacking)]
        mine = [*groups, *again][self.rank :: self.world]
        for first in range(self.start * self.batch, len(mine), self.batch):
            yield mine[first : first + self.batch]
