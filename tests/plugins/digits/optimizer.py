"""An optimizer: signum (Bernstein et al., arXiv 1802.04434), the sign of a momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


class Signum(torch.optim.Optimizer):
    """With gradient g: ``m = momentum m + (1 - momentum) g``, then ``w -= lr (sign(m) + decay w)``."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                average = self.state[parameter].setdefault("average", torch.zeros_like(parameter))
                average.lerp_(parameter.grad, 1 - group["momentum"])
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(average.sign(), alpha=-group["lr"])


def signum(
    groups: list[dict[str, Any]], settings: Mapping[str, Any], *, momentum: float = 0.9
) -> torch.optim.Optimizer:
    """Return signum over the parameter groups of `train.lr`."""
    return Signum(groups, {"lr": 0.0, "weight_decay": 0.0, "momentum": momentum})


signum.elementwise = True  # type: ignore[attr-defined]  # ZeRO may split parameters.
