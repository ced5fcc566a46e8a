"""An engine: the plain torch one, which also counts the optimizer steps that it has taken."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mplug2.train.engines.base import StepResult
from mplug2.train.engines.torch import TorchEngine


class CountingEngine:
    """Passes all calls to `TorchEngine`, and keeps the number of steps in checkpoints."""

    def __init__(self, net: nn.Module, optimizer: torch.optim.Optimizer, settings: Mapping[str, Any]) -> None:
        self._engine = TorchEngine(net, optimizer, settings)
        self.sharded = self._engine.sharded
        self.steps = 0

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer, whose learning rates the trainer writes."""
        return self._engine.optimizer

    def __call__(self, batch: Mapping[str, Any], goal: str | tuple[str, ...] = "train") -> dict[str, Any]:
        """Return the outputs of a goal."""
        return self._engine(batch, goal)

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a loss."""
        self._engine.backward(loss)

    def step(self, max_norm: float | None) -> StepResult:
        """Update the weights, and count."""
        result = self._engine.step(max_norm)
        self.steps += result.taken
        return result

    def save(self, folder: Path) -> None:
        """Write the optimizer state and the number of steps."""
        self._engine.save(folder)
        (folder / "steps.json").write_text(json.dumps(self.steps))

    def load(self, folder: Path) -> None:
        """Restore both."""
        self._engine.load(folder)
        self.steps = json.loads((folder / "steps.json").read_text())

    def consolidate(self, parameter: str | Tensor) -> Tensor:
        """Return the full float32 weights of a parameter."""
        return self._engine.consolidate(parameter)
