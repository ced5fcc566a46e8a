"""The factories that `train.optimizer` names.

A factory is called as ``factory(groups, settings, **options)``. ``groups`` are the parameter groups
(``params``, ``param_names``, ``name``, ``lr``, ``weight_decay``), and ``settings`` is the spec's `train`. The
options of `train.optimizer` are its keyword-only parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch

from mplug2.train.optimizers.lion import Lion

Group = dict[str, Any]
Factory = TypeVar("Factory", bound=Callable[..., torch.optim.Optimizer])


def elementwise(factory: Factory) -> Factory:
    """Mark the factory of an optimizer that treats each element alone, so that ZeRO may split parameters."""
    factory.elementwise = True  # type: ignore[attr-defined]
    return factory


@elementwise
def adamw(
    groups: list[Group],
    settings: Mapping[str, Any],
    *,
    betas: list[float] | None = None,
    eps: float | None = None,
    amsgrad: bool = False,
) -> torch.optim.AdamW:
    """Return AdamW (Loshchilov and Hutter, arXiv 1711.05101); the defaults are `train.betas` and `train.eps`.

    It is torch's own, so that no machine needs a compiler.
    """
    beta1, beta2 = settings["betas"] if betas is None else betas
    epsilon = settings["eps"] if eps is None else eps
    return torch.optim.AdamW(
        groups, betas=(float(beta1), float(beta2)), eps=float(epsilon), amsgrad=amsgrad
    )


@elementwise
def sgd(
    groups: list[Group],
    settings: Mapping[str, Any],
    *,
    momentum: float = 0.9,
    nesterov: bool = False,
    dampening: float = 0.0,
) -> torch.optim.SGD:
    """Return SGD with momentum. Weight decay is added to the gradient, as in torch."""
    return torch.optim.SGD(
        groups, lr=0.0, momentum=momentum, nesterov=nesterov, dampening=dampening
    )


@elementwise
def lion(
    groups: list[Group],
    settings: Mapping[str, Any],
    *,
    betas: list[float] = [0.9, 0.99],  # noqa: B006
) -> Lion:
    """Return Lion; it needs a rate 3 to 10 times smaller than AdamW's, and a larger weight decay."""
    beta1, beta2 = betas
    return Lion(groups, betas=(float(beta1), float(beta2)))


def adafactor(
    groups: list[Group],
    settings: Mapping[str, Any],
    *,
    beta2_decay: float = -0.8,
    d: float = 1.0,
) -> torch.optim.Adafactor:
    """Return Adafactor (Shazeer and Stern, arXiv 1804.04235): the second moments of a matrix are factored."""
    return torch.optim.Adafactor(groups, beta2_decay=beta2_decay, d=d)
