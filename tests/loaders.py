"""Loaders for tests, built from a source without a spec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mplug2.data.batch import Batch
from mplug2.data.batching import FixedBatches
from mplug2.data.loader import EvalLoader, Loader
from mplug2.data.sources.files import FileSource
from mplug2.data.sources.items import ItemSource
from registry import Declaration


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


def make_source(task_class: Any, path: Any, **arguments: Any) -> FileSource:
    """Return a file source with its task; each argument goes to those of the two that declare it."""
    source: FileSource = make_source_of(
        FileSource, task_class, path=str(path), **arguments
    )
    return source


def make_source_of(source_class: Any, task_class: Any, **arguments: Any) -> Any:
    """Return a source with its task; each argument goes to those of the two that declare it."""
    task_names = Declaration.of(task_class).arguments
    source_names = Declaration.of(source_class).arguments
    unknown = set(arguments) - {*task_names, *source_names}
    assert not unknown, unknown
    task = task_class(
        **{name: value for name, value in arguments.items() if name in task_names}
    )
    settings = {
        name: value for name, value in arguments.items() if name in source_names
    }
    return source_class(task=task, **settings)


def make_items(task_class: Any, items: Sequence[Any], **arguments: Any) -> ItemSource:
    """Return a source of items in memory with its task."""
    task_names = Declaration.of(task_class).arguments
    source_names = Declaration.of(ItemSource).arguments
    task = task_class(
        **{name: value for name, value in arguments.items() if name in task_names}
    )
    settings = {
        name: value for name, value in arguments.items() if name in source_names
    }
    return ItemSource(items=list(items), task=task, **settings)
