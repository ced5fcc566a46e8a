"""Samples of a task to the batch of a network."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from mplug2.data.batch import Batch, Sample
from mplug2.data.tasks.task import Task


class Collator:
    """Makes batches of samples by a task; only the inputs that the spec asks for are built."""

    def __init__(self, task: Task, inputs: Collection[str] | None = None) -> None:
        """Take a task and the inputs of the spec (None: all that the task supplies)."""
        self.task = task
        self.inputs = None if inputs is None else frozenset(inputs)

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Return the batch of some samples, with one record for each of their items."""
        items: list[Any] = []
        for sample in samples:
            items += sample.items
        inputs: dict[str, Any] = {}
        # Tasks give functions for inputs that cost something: only those that are read are called.
        for name, value in self.task.encode(items, samples).items():
            if self.inputs is None or name in self.inputs:
                inputs[name] = value() if callable(value) else value
        records = []
        for sample in samples:
            for number, item in zip(sample.request.items, sample.items, strict=True):
                records.append(self.record(item, number, sample))
        return Batch(inputs, records)

    def record(
        self, item: Any, number: int, sample: Sample | None = None
    ) -> dict[str, Any]:
        """Return what evaluation knows of an item; ``number`` is its position in the annotations."""
        make = getattr(self.task, "record", None)
        record: dict[str, Any] = {} if make is None else make(item, sample)
        if "question_id" not in record:
            record = {"question_id": number, **record}
        if sample is None:
            return record
        if sample.source:
            record["source"] = sample.source
        if sample.failure:
            record["bad"] = sample.failure
        if sample.request.padding:
            record["padding"] = True
        return record
