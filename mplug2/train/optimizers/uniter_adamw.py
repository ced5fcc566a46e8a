"""UNITER's AdamW, which is that of early Hugging Face code: epsilon comes before the bias correction."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from mplug2.train.optimizers.elements import parameters_with_gradients
from mplug2.train.optimizers.factories import elementwise


class UniterAdamW(torch.optim.Optimizer):
    """AdamW as ChenRocks/UNITER releases it (``optim/adamw.py``).

    With moments m and v at step t: ``w -= lr sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + eps)``, then
    ``w -= lr * weight_decay * w``. torch's AdamW adds eps after the correction of v, and decays before the
    step; the difference shows where gradients are as small as eps.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group, parameter, gradient in parameters_with_gradients(self):
            beta1, beta2 = group["betas"]
            state = self.state[parameter]
            if not state:
                state["step"] = torch.zeros(())
                state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg_sq"] = torch.zeros_like(parameter)
            state["step"] += 1
            step = int(state["step"])
            mean, square = state["exp_avg"], state["exp_avg_sq"]
            mean.mul_(beta1).add_(gradient, alpha=1 - beta1)
            square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            size = group["lr"] * math.sqrt(1 - beta2**step) / (1 - beta1**step)
            parameter.addcdiv_(mean, square.sqrt().add_(group["eps"]), value=-size)
            if group["weight_decay"] > 0:
                parameter.add_(parameter, alpha=-group["lr"] * group["weight_decay"])


@elementwise
def uniter_adamw(
    groups: list[dict[str, Any]],
    settings: Mapping[str, Any],
    *,
    betas: list[float] = [0.9, 0.98],  # noqa: B006
    eps: float = 1e-6,
) -> UniterAdamW:
    """Return UNITER's AdamW: epsilon before the bias correction, decay after the step."""
    beta1, beta2 = betas
    return UniterAdamW(groups, betas=(float(beta1), float(beta2)), eps=float(eps))
