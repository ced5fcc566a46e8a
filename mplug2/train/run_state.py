"""How far a run has come: what a checkpoint stores so that training continues at the very next step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mplug2.eval.best import is_better
from registry.training import LENGTHS, Length


@dataclass(frozen=True)
class Result:
    """The outcome of a run."""

    folder: Path
    steps: int
    last: Path  # the newest checkpoint
    best: Path | None  # the best by validation; None without validation
    metrics: dict[str, float]  # of the last evaluation
    interrupted: bool


@dataclass
class RunState:
    """The progress of a run, the same on all ranks.

    A step is one iteration: one or more optimizer steps. ``loaders`` holds the position of each batch's
    loader, in samples over all ranks.
    """

    step: int = 0  # iterations done
    loaders: dict[str, dict[str, int]] = field(default_factory=dict)
    # Optimizer steps that were not taken because the gradient was not finite.
    skipped: int = 0
    metrics: dict[str, float] = field(default_factory=dict)  # of the last evaluation
    eval_pending: bool = False  # whether this step has not been evaluated yet
    best: float | None = None
    best_step: int | None = None
    num_not_better: int = 0  # evaluations in a row since the best one

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> RunState:
        """Return the state that a checkpoint stores; format 1 counted batches of a rank."""
        fields = {key: state[key] for key in cls.__dataclass_fields__ if key in state}
        if "loaders" not in state:
            settings = state["agree"]
            batch, ranks = settings.get("batch", 1), settings.get("processes", 1)
            samples = state["batches"] * batch * ranks
            fields["loaders"] = {"train": {"epoch": state["epoch"], "samples": samples}}
            fields["eval_pending"] = state.get("due", False)
        return cls(**fields)

    def record_best(self, value: float, *, smaller_is_better: bool) -> bool:
        """Count an evaluation; if it is the best so far, remember its value and step, and return True."""
        self.num_not_better += 1
        if not is_better(value, self.best, smaller_is_better=smaller_is_better):
            return False
        self.best, self.best_step, self.num_not_better = value, self.step, 0
        return True

    def is_over(self, total: int, early_stop: int | None) -> bool:
        """Return whether ``total`` steps are done, or ``early_stop`` evaluations in a row were not better."""
        return self.step >= total or (
            early_stop is not None and self.num_not_better >= early_stop
        )

    def epoch_of(self, batch: str) -> int:
        """Return how many epochs of a batch are complete."""
        return self.loaders.get(batch, {}).get("epoch", 0)

    def progress(self, length: Length, main_batch: str) -> float:
        """Return how much of a run is done, in the unit of ``length``."""
        if length.unit == "steps":
            return self.step
        position = self.loaders.get(length.of or main_batch, {})
        epoch, samples = position.get("epoch", 0), position.get("samples", 0)
        samples_per_epoch = position.get("samples_per_epoch", 0)
        if length.unit == "samples":
            return epoch * samples_per_epoch + samples
        return epoch + (samples / samples_per_epoch if samples_per_epoch else 0.0)

    def position(self, main_batch: str) -> dict[str, float]:
        """Return what is done of a run: iterations, and samples and epochs of its main batch."""
        return {unit: self.progress(Length(unit, 1), main_batch) for unit in LENGTHS}


def is_due(every: Length, before: RunState, after: RunState, main_batch: str) -> bool:
    """Return whether a multiple of ``every`` is between two states of a run."""
    return _multiples(every, after, main_batch) > _multiples(every, before, main_batch)


def _multiples(every: Length, state: RunState, main_batch: str) -> int:
    # Epochs are fractions: 3 * (1 / 3) must count as the first epoch.
    return math.floor(state.progress(every, main_batch) / every.number + 1e-9)
