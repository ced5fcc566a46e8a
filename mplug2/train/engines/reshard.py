"""The state of an optimizer on another number of ranks, or at another ZeRO stage, than it was written with.

The files of all ranks together hold the state of every element of every parameter. It is put together by
the names of the parameters, and each rank takes what it needs now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mplug2.runtime import distributed
from mplug2.train.engines.optimizer_state import FULL
from mplug2.train.engines.rank_files import rank_file
from registry.errors import UserError


@dataclass(frozen=True)
class Target:
    """What this rank's optimizer holds of a parameter: elements from ``start`` on, in a shape."""

    name: str
    start: int  # in the flattened parameter
    shape: torch.Size


def resharded_state(
    folder: Path, targets: Sequence[Target], sizes: dict[str, int], order: Sequence[str]
) -> dict[str, Any]:
    """Return the state for ``targets``, in their order, and what else the first rank wrote.

    ``sizes`` are the numbers of elements of all trainable parameters. ``order``: their names in the order of
    the parameter groups, in which a state that is not sharded is written. All ranks must call this. Raises
    `UserError` on all ranks if a file is missing or damaged.
    """
    payload: dict[str, Any] = {}
    problem = None
    try:
        payload = _resharded(folder, targets, sizes, order)
    except UserError as error:
        problem = str(error)
    distributed.raise_on_all_ranks(problem)
    return payload


def _resharded(
    folder: Path, targets: Sequence[Target], sizes: dict[str, int], order: Sequence[str]
) -> dict[str, Any]:
    complete = _CompleteState(folder, sizes)
    first: dict[str, Any] = {}
    rank = 0
    while rank == 0 or rank_file(folder, rank).is_file():
        payload = _read(rank_file(folder, rank))
        first = first or payload
        layout = payload["layout"]
        if layout == FULL:
            rows = [{"name": name, "start": 0, "numel": sizes[name]} for name in order]
        else:
            rows = layout
        complete.add(rows, payload["optimizer"]["state"])
        complete.add_counters(payload["optimizer"]["counters"])
        # Every rank writes the same complete state: more of it adds nothing.
        if layout == FULL:
            break
        rank += 1
    complete.raise_if_partial()
    states = {}
    for index, target in enumerate(targets):
        state = complete.part(target)
        if state:
            states[index] = state
    optimizer = {**first["optimizer"], "state": states, "counters": complete.counters}
    return {**first, "optimizer": optimizer}


def _read(file: Path) -> dict[str, Any]:
    try:
        payload: dict[str, Any] = torch.load(
            file, map_location="cpu", weights_only=True
        )
        _ = payload["layout"], payload["optimizer"]["state"]
    except Exception as error:  # Which one depends on where the damage is.
        raise UserError(
            f"{file} must be what mplug2 wrote, but is missing or damaged ({type(error).__name__}). On "
            "another number of ranks, every machine needs the files of all ranks: copy them there"
        ) from error
    return payload


class _CompleteState:
    """The state of every parameter by name: tensors of its size flattened, and numbers such as steps."""

    def __init__(self, folder: Path, sizes: dict[str, int]) -> None:
        self.folder, self.sizes = folder, sizes
        self.counters: list[dict[str, Any]] = []
        self._values: dict[str, dict[str, Any]] = {}
        self._filled: dict[tuple[str, str], int] = {}

    def add(self, rows: Sequence[dict[str, Any]], states: dict[int, Any]) -> None:
        """Add the state of one rank; ``rows`` name the part of a parameter that each entry belongs to."""
        for index, row in enumerate(rows):
            # A parameter that no step has reached yet has no state.
            for key, value in states.get(index, {}).items():
                self._add_value(row, key, value)

    def add_counters(self, counters: list[dict[str, Any]]) -> None:
        """Add the counts of groups of one rank; a rank that holds nothing of a group has not counted."""
        if not self.counters:
            self.counters = [{} for _ in counters]
        for counted, more in zip(self.counters, counters, strict=True):
            counted.update(more)

    def raise_if_partial(self) -> None:
        """Raise `UserError` if parts of a parameter are in none of the files."""
        for (name, key), count in self._filled.items():
            if count != self.sizes[name]:
                raise UserError(
                    f"{self.folder}: the optimizer state of {name} is incomplete ({key} of {count} of "
                    f"{self.sizes[name]} elements). On another number of ranks, every machine needs the "
                    "files of all ranks: copy them there"
                )

    def part(self, target: Target) -> dict[str, Any]:
        """Return the state of a part of a parameter, in its shape."""
        state = {}
        for key, value in self._values.get(target.name, {}).items():
            if (target.name, key) in self._filled:
                numel = target.shape.numel()
                flat = value.narrow(0, target.start, numel)
                state[key] = flat.view(target.shape).clone()
            else:
                state[key] = value.clone() if isinstance(value, Tensor) else value
        return state

    def _add_value(self, row: dict[str, Any], key: str, value: Any) -> None:
        name, start, numel = row["name"], row["start"], row["numel"]
        values = self._values.setdefault(name, {})
        if not isinstance(value, Tensor) or value.ndim == 0:
            values[key] = value
            return
        # An optimizer that factors its averages needs the layout that they were written with.
        if value.numel() != numel or name not in self.sizes:
            raise UserError(
                f"{self.folder}: the optimizer state of {name} has {value.numel()} elements for {numel} "
                "weights, and cannot be sharded in another way. Resume with the number of processes and the "
                "train.zero of the checkpoint"
            )
        if key not in values:
            values[key] = value.new_zeros(self.sizes[name])
        values[key][start : start + numel] = value.reshape(-1)
        self._filled[name, key] = self._filled.get((name, key), 0) + numel
