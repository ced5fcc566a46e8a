"""The protocol of an engine: what the trainer asks of DeepSpeed, torch, or a plug-in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from registry import ENGINES


@dataclass(frozen=True)
class StepResult:
    """What became of an optimizer step; the same on all ranks."""

    taken: (
        bool  # False: the gradient was not finite, and the weights were left unchanged
    )
    # L2 norm over all parameters before clipping; None if it was not finite.
    grad_norm: float | None


class Engine(Protocol):
    """A network and its optimizer on this rank; registered in ``ENGINES`` under the name of `train.engine`.

    The network has its weights when an engine is made, and the process group exists. All ranks make the same
    calls in the same order: every method but ``__call__`` may communicate.
    """

    sharded: bool  # Whether forward passes communicate, so that ranks must call the same modules (ZeRO 3).

    def __init__(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        settings: Mapping[str, Any],
    ) -> None:
        """Wrap ``net`` and ``optimizer`` (see ``build_optimizer``); ``settings`` is the spec's `train`."""

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer; the trainer writes ``lr`` into its ``param_groups``."""

    def __call__(
        self, batch: Mapping[str, Any], goal: str | tuple[str, ...] = "train"
    ) -> dict[str, Any]:
        """Return ``net(batch, goal)``, in the engine's precision."""

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a scalar: the SUM over the calls of one step, the MEAN over ranks.

        A step may have any number of calls. Nothing is divided by their number.
        """

    def step(self, max_norm: float | None) -> StepResult:
        """Update the weights by the gradients since the last step, and forget the gradients.

        Gradients are clipped to the norm ``max_norm`` (None or 0: not at all). Parameters that no backward
        call of this step reached, on any rank, stay unchanged together with their optimizer state.
        """

    def save(self, folder: Path) -> None:
        """Write this rank's optimizer state into ``folder``, which exists. Weights are not part of it."""

    def load(self, folder: Path) -> None:
        """Restore what ``save`` wrote; raise `UserError` on all ranks if that is impossible on one."""

    def consolidate(self, parameter: str | Tensor) -> Tensor:
        """Return the full float32 master of a parameter (its name, or itself), on all ranks.

        A frozen parameter or a buffer is returned in its own precision.
        """


def check_engine(settings: Mapping[str, Any]) -> None:
    """Raise UserError if the engine that `train.engine` names refuses the settings.

    An engine may have a static method ``check_settings(settings)`` for what can be refused before it starts.
    """
    check = getattr(ENGINES.load(settings["engine"]), "check_settings", None)
    if check is not None:
        check(settings)


def start_engine(
    net: nn.Module, optimizer: torch.optim.Optimizer, settings: Mapping[str, Any]
) -> Engine:
    """Return the engine that `train.engine` names, around ``net`` and ``optimizer``."""
    return cast(Engine, ENGINES.load(settings["engine"])(net, optimizer, settings))


def find_tensor(net: nn.Module, name: str) -> Tensor:
    """Return the parameter or buffer of a name; KeyError if there is none."""
    # A tied weight is found by each of its names.
    for parameter_name, parameter in net.named_parameters(remove_duplicate=False):
        if parameter_name == name:
            return parameter
    return dict(net.named_buffers())[name]
