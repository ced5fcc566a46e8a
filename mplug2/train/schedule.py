"""Learning rate by optimizer step: a linear warm-up, then cosine, linear or constant."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from registry import Literal, Spec
from registry.errors import UserError
from registry.language.ramp import ramps_in

Kind = typing.Literal["cosine", "linear", "constant"]


@dataclass(frozen=True)
class Schedule:
    """The learning rate of every optimizer step of a run of ``total`` steps.

    The rate is set after each step, as in the released recipe: the first two steps share one rate, and step
    ``n`` is at position ``n - 1``. With ``p`` the position and ``w`` the warm-up, the rate is ``warmup_lr
    + (lr - warmup_lr) p / w`` for ``p < w``, afterwards, with ``t = (p - w) / (total - w)``, ``min_lr + (lr -
    min_lr) (1 + cos(pi t)) / 2`` for cosine and ``min_lr + (lr - min_lr) (1 - t)`` for linear. A group whose
    own rate is below ``warmup_lr`` or ``min_lr`` keeps its own rate there.
    """

    kind: Kind
    total: int
    warmup: int = 0
    warmup_lr: float = 0.0
    min_lr: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise UserError(
                f"train.schedule must be one of {', '.join(get_args(Kind))}, but is {self.kind!r}"
            )

    def at(self, step: int, lr: float) -> float:
        """Return the rate of optimizer step ``step`` (from 0) for a group whose full rate is ``lr``."""
        # The released code sets the rate after the step, so the first two steps share one.
        position = max(step - 1, 0)
        if position < self.warmup:
            # A group that is slower than the warm-up must not begin above its full rate.
            start = min(self.warmup_lr, lr)
            return start + (lr - start) * position / self.warmup
        if self.kind == "constant":
            return lr
        done = min((position - self.warmup) / max(self.total - self.warmup, 1), 1.0)
        left = (1 + math.cos(math.pi * done)) / 2 if self.kind == "cosine" else 1 - done
        end = min(self.min_lr, lr)
        return end + (lr - end) * left


def schedule_of(settings: Mapping[str, Any], total: int) -> Schedule:
    """Return the schedule that the spec's `train` section describes, for a run of ``total`` steps."""
    return Schedule(
        settings["schedule"],
        total,
        settings["warmup"],
        settings["warmup_lr"],
        settings["min_lr"],
    )


def ramp_values(spec: Spec, position: Mapping[str, float]) -> dict[str, float]:
    """Return the value of each ramp of the flow at a position of a run, as ``ramp/STREAM.OPTION``."""
    values = {}
    for stream, equation in spec.flow.items():
        for option, argument in equation.keywords.items():
            if isinstance(argument, Literal):
                for name, ramp in ramps_in(argument.value, f"ramp/{stream}.{option}"):
                    values[name] = ramp.at(position)
    return values


def named_rates(
    patterns: float | Mapping[str, float],
    peaks: Sequence[float],
    rates: Sequence[float],
) -> dict[str, float]:
    """Return the rates in force, one for each pattern of `train.lr`.

    ``peaks``: the highest rate of each parameter group; ``rates``: the rate of each group now.
    """
    if not isinstance(patterns, Mapping):
        # Layers may learn more slowly: `train.layer_decay`.
        return {"lr": max(rates)}
    by_peak = dict(zip(peaks, rates, strict=True))
    named = {}
    for pattern, peak in patterns.items():
        if float(peak) in by_peak:
            named[f"lr/{pattern}"] = by_peak[float(peak)]
    return named
