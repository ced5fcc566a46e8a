"""Loaders for tests, built from a source without a spec."""

from __future__ import annotations

from typing import Any

from mplug2.data.batch import Batch
from mplug2.data.batching import FixedBatches
from mplug2.data.loader import EvalLoader, Loader


def train_loader(
    source: Any, batch: int, *, world: int = 1, accumulation: int = 1, **settings: Any
) -> Loader:
    """Return a training loader of ``batch`` samples per rank and micro-batch."""
    formation = FixedBatches(batch * world * accumulation, batch)
    return Loader(source, source.collate, formation, world=world, **settings)


def eval_loader(source: Any, batch: int, **settings: Any) -> EvalLoader:
    """Return an evaluation loader of ``batch`` samples per rank."""
    return EvalLoader(source, source.collate, batch_size=batch, **settings)


def one_epoch(loader: Loader, epoch: int | None = None) -> list[Batch]:
    """Return the batches from the loader's position, or from the start of ``epoch``, to the epoch's end."""
    if epoch is not None:
        loader.load_state_dict({"epoch": epoch, "samples": 0})
    first = loader.state_dict()["epoch"]
    batches = []
    for batch in loader:
        batches.append(batch)
        if loader.state_dict()["epoch"] != first:
            break
    return batches
