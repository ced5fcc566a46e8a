"""Momentum shadows: slowly following copies of modules, for `ema(...)`."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn


@contextlib.contextmanager
def _whole(parameters: list[nn.Parameter]) -> Iterator[None]:
    """While open, parameters that ZeRO stage 3 has split over ranks are whole on each."""
    if any(hasattr(p, "ds_id") for p in parameters):
        import deepspeed  # only where it has split them

        with deepspeed.zero.GatheredParameters(parameters):
            yield
    else:
        yield


class Shadow:
    """Copies of some of a network's modules, ``shadow = decay * shadow + (1 - decay) * student``, in full
    precision.

    The copies live outside the module tree: no optimiser sees them and no engine splits or casts them.
    """

    def __init__(self, students: Mapping[str, nn.Module], decay: float) -> None:
        self.decay = decay
        self.students = dict(students)
        self.modules = {
            name: copy.deepcopy(student).requires_grad_(False) for name, student in students.items()
        }

    @torch.no_grad()
    def update(self, decay: float | None = None) -> None:
        """Take one step towards the students; ``decay=0`` copies them."""
        rate = 1 - (self.decay if decay is None else decay)
        for name, student in self.students.items():
            shadow = self.modules[name]
            for part, twin in zip(student.modules(), shadow.modules(), strict=True):
                # layer by layer, so that a split network is never whole at once
                own = list(part.parameters(recurse=False))
                with _whole(own):
                    for target, source in zip(twin.parameters(recurse=False), own, strict=True):
                        target.lerp_(source.to(target), rate)
                for copied, value in zip(
                    twin.buffers(recurse=False), part.buffers(recurse=False), strict=True
                ):
                    copied.copy_(value)

    def to(self, device: torch.device | str) -> None:
        """Move the copies."""
        for module in self.modules.values():
            module.to(device)

    def state_dict(self) -> dict[str, Tensor]:
        """The copies' tensors, named as the students' are."""
        return {
            f"{n}.{key}": value
            for n, module in self.modules.items()
            for key, value in module.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` gave; KeyError if a tensor is missing."""
        for key, target in self.state_dict().items():
            target.copy_(state[key])
