"""Lion (Chen et al., "Symbolic Discovery of Optimization Algorithms", arXiv 2302.06675)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from mplug2.train.optimizers.elements import parameters_with_gradients


class Lion(torch.optim.Optimizer):
    """Moves each element by the sign of an interpolation between its momentum and its gradient.

    With gradient g and momentum m: ``w -= lr * (sign(beta1 m + (1 - beta1) g) + weight_decay * w)``, then
    ``m = beta2 m + (1 - beta2) g``.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "weight_decay": weight_decay}
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group, parameter, gradient in parameters_with_gradients(self):
            beta1, beta2 = group["betas"]
            state = self.state[parameter]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(parameter)
            momentum = state["momentum"]
            update = momentum.lerp(gradient, 1 - beta1).sign_()
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(update, alpha=-group["lr"])
            momentum.lerp_(gradient, 1 - beta2)
