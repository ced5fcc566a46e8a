"""Which parameter learns at which rate, and which decays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from mplug2.build.patterns import matching
from registry.errors import UserError
from registry.language.schema import TRAIN


def select(names: Iterable[str], patterns: Sequence[str]) -> set[str]:
    """The names that ``patterns`` mean; an entry that begins with ``!`` takes names out again; the last match
    decides."""
    chosen: set[str] = set()
    names = list(names)
    for pattern in patterns:
        hit = {name for name in names if matching(name, pattern.removeprefix("!"))}
        chosen = chosen - hit if pattern.startswith("!") else chosen | hit
    return chosen


def rates(names: Sequence[str], lr: float | Mapping[str, float]) -> dict[str, float]:
    """The learning rate of each parameter: one number for all, or ``{default: 2e-5, vision: 2e-6}``; the last
    match decides.

    A pattern that matches no parameter, and a parameter without a rate, raise UserError.
    """
    if not isinstance(lr, Mapping):
        return dict.fromkeys(names, float(lr))
    found = dict.fromkeys(names, float(lr["default"])) if "default" in lr else {}
    for pattern, rate in lr.items():
        if pattern == "default":
            continue
        hit = [name for name in names if matching(name, pattern)]
        if not hit:
            _refuse("train.lr", pattern, names)
        found.update(dict.fromkeys(hit, float(rate)))
    missing = [name for name in names if name not in found]
    if missing:
        raise UserError(
            f"train.lr must give every parameter a rate, but {missing[0]!r} has none; add `default: 2e-5`"
        )
    return found


def parameter_groups(net: nn.Module, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The optimiser's groups, one per (rate, decay), in the order of the network's parameters; frozen ones
    are left out.

    ``settings`` is the spec's ``train`` section: ``lr``, ``weight_decay``, ``no_decay``. Raises UserError
    where a pattern matches nothing or where nothing is left to train.
    """
    trainable = {name: p for name, p in net.named_parameters() if p.requires_grad}
    if not trainable:
        raise UserError("the network has no parameter to train: `freeze:` leaves nothing over")
    everything = [name for name, _ in net.named_parameters()]
    rate = rates(everything, settings["lr"])
    if (
        settings["no_decay"] != TRAIN["no_decay"].default
    ):  # the default may well find nothing in a small network
        for pattern in settings["no_decay"]:
            if not select(everything, [pattern.removeprefix("!")]):
                _refuse("train.no_decay", pattern, everything)
    exempt = select(everything, settings["no_decay"])
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in trainable.items():
        decay = 0.0 if name in exempt else float(settings["weight_decay"])
        groups.setdefault((rate[name], decay), []).append(parameter)
    return [{"params": params, "lr": lr, "weight_decay": decay} for (lr, decay), params in groups.items()]


def build_optimizer(net: nn.Module, settings: Mapping[str, Any]) -> torch.optim.AdamW:
    """AdamW over ``parameter_groups``: plain torch, so that no machine needs a compiler."""
    groups = parameter_groups(net, settings)
    beta1, beta2 = settings["betas"]
    optimizer = torch.optim.AdamW(groups, betas=(float(beta1), float(beta2)), eps=float(settings["eps"]))
    optimizer.elementwise = True  # type: ignore[attr-defined]
    return optimizer


def _refuse(key: str, pattern: str, names: Sequence[str]) -> None:
    modules = ", ".join(dict.fromkeys(name.split(".")[0] for name in names))
    raise UserError(
        f"{key}: pattern {pattern!r} must match a parameter, but matches none; the modules are {modules}"
    )
