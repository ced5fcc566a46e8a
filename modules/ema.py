"""Exponential moving averages of modules, for `ema(...)`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


class EMA:
    """Copies of some of a network's modules that follow them: ``copy = decay * copy + (1 - decay) * weight``.

    The copies are in float32 and live outside the module tree: no optimizer sees them, and no engine shards
    or casts them. In 16 bit a step of 1e-4 of a weight would vanish in rounding (Tarvainen and Valpola, "Mean
    teachers", arXiv 1703.01780, average the weights in full precision).
    """

    def __init__(self, students: Mapping[str, nn.Module], decay: float) -> None:
        """Copy ``students``, which must hold their first weights, in float32."""
        self.decay = decay
        self.students = dict(students)
        # One memo: weights that are tied between students are tied between their copies.
        memo: dict[int, object] = {}
        self.modules: dict[str, nn.Module] = {}
        for name, student in students.items():
            self.modules[name] = copy.deepcopy(student, memo).requires_grad_(False)

    @torch.no_grad()
    def update(
        self,
        decay: float | None = None,
        master: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """Take one step towards the students; ``decay=0`` copies them. Buffers are copied.

        ``master`` returns the complete float32 value of a parameter that an engine shards or keeps in 16 bit;
        by default parameters are averaged unchanged. It is called for the same parameters in the same order
        on all ranks, one at a time, so that no complete network exists at once.
        """
        rate = 1 - (self.decay if decay is None else decay)
        averaged: set[int] = set()
        for name, student in self.students.items():
            average = self.modules[name]
            pairs = zip(average.parameters(), student.parameters(), strict=True)
            for target, source in pairs:
                # A weight that is tied between modules is met again: it takes one step.
                if id(target) in averaged:
                    continue
                averaged.add(id(target))
                value = source if master is None else master(source)
                target.lerp_(value.to(target), rate)
            for copied, current in zip(
                average.buffers(), student.buffers(), strict=True
            ):
                # Counters and statistics have no average.
                copied.copy_(current)

    def to(self, device: torch.device | str) -> None:
        """Move the copies to a device."""
        for module in self.modules.values():
            module.to(device)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the tensors of the copies, named as the students' are."""
        state = {}
        for name, module in self.modules.items():
            for key, value in module.state_dict().items():
                state[f"{name}.{key}"] = value
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` returned; KeyError if a tensor is missing."""
        for key, target in self.state_dict().items():
            target.copy_(state[key])
