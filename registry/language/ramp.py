"""`ramp(0, 0.4, steps=1000)`: a number option of a flow line that changes linearly while a network trains."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from registry.errors import SpecError, UserError
from registry.name_table import closest_name

NAME = "ramp"
UNITS = ("steps", "samples", "epochs")
EXAMPLE = "`alpha=ramp(0, 0.4, epochs=1)`"
Wrong = Callable[[ast.AST, str, str], SpecError]


@dataclass(frozen=True)
class Ramp:
    """A number that goes from ``start`` to ``end`` over a length, and stays there.

    ``unit``: steps (iterations), or samples or epochs of the run's first batch.
    """

    start: float
    end: float
    unit: str
    length: float

    def at(self, position: Mapping[str, float] | None) -> float:
        """Return the value at a position of a run, by unit; the end value if there is no run."""
        # Evaluation and prediction use what training ends with.
        if position is None:
            return float(self.end)
        if self.unit not in position:
            raise UserError(
                f"{self} needs the position of the run in {self.unit} (got {', '.join(position)})"
            )
        fraction = min(position[self.unit] / self.length, 1.0)
        # Exactly the end, which rounding of the formula might miss.
        if fraction == 1.0:
            return float(self.end)
        return self.start + (self.end - self.start) * fraction

    def __repr__(self) -> str:
        return f"{NAME}({self.start!r}, {self.end!r}, {self.unit}={self.length!r})"


def read_ramp(call: ast.Call, literal: Callable[[ast.expr], Any], wrong: Wrong) -> Ramp:
    """Return the ramp that a call in a flow line writes.

    ``literal`` reads a plain value, ``wrong`` makes the located error of a part of the line.
    """
    takes = "a ramp takes its first and its last number"
    if len(call.args) != 2:
        raise wrong(call, f"{takes} (got {len(call.args)})", EXAMPLE)
    ends = []
    for argument in call.args:
        value = literal(argument)
        if not _is_number(value):
            raise wrong(argument, f"{takes} (got {value!r})", EXAMPLE)
        ends.append(value)
    unit, length = _read_length(call, literal, wrong)
    return Ramp(ends[0], ends[1], unit, length)


def _read_length(
    call: ast.Call, literal: Callable[[ast.expr], Any], wrong: Wrong
) -> tuple[str, float]:
    """Return the unit and the length of a ramp."""
    for keyword in call.keywords:
        if keyword.arg not in UNITS:
            near = closest_name(keyword.arg or "", UNITS)
            hint = f"did you mean '{near}'?" if near else f"one of {', '.join(UNITS)}"
            raise wrong(keyword, f"a ramp has no length '{keyword.arg}'", hint)
    if len(call.keywords) != 1:
        names = [str(keyword.arg) for keyword in call.keywords]
        at: ast.AST = call.keywords[1] if len(names) > 1 else call
        message = f"a ramp takes one length: steps, samples or epochs (got {', '.join(names) or 'none'})"
        raise wrong(at, message, EXAMPLE)
    keyword = call.keywords[0]
    unit, value = str(keyword.arg), literal(keyword.value)
    if not _is_number(value) or value <= 0:
        message = f"the length of a ramp must be positive (got {value!r})"
        raise wrong(keyword.value, message, EXAMPLE)
    # Half an epoch is a length, half a step is not.
    if unit != "epochs" and value != int(value):
        message = f"the length of a ramp in {unit} must be an integer (got {value!r})"
        raise wrong(keyword.value, message, f"`{unit}={max(1, round(value))}`")
    return unit, value


def value_at(value: Any, position: Mapping[str, float] | None) -> Any:
    """Return the value of an option at a position of a run; lists may hold ramps."""
    if isinstance(value, Ramp):
        return value.at(position)
    if isinstance(value, list):
        return [value_at(entry, position) for entry in value]
    return value


def has_ramp(value: Any) -> bool:
    """Return whether the value of an option changes over time."""
    return next(ramps_in(value, ""), None) is not None


def ramps_in(value: Any, name: str) -> Iterator[tuple[str, Ramp]]:
    """Yield the ramps of an option called ``name``; those of a list by their numbers."""
    if isinstance(value, Ramp):
        yield name, value
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from ramps_in(entry, f"{name}.{index}")


def ramp_samples(value: Any) -> list[Any]:
    """Return what an option can be: the value itself, or its first, a middle and its last value."""
    if not has_ramp(value):
        return [value]
    return [_sample(value, fraction) for fraction in (0.0, 0.5, 1.0)]


def _sample(value: Any, fraction: float) -> Any:
    if isinstance(value, Ramp):
        ends = {0.0: value.start, 1.0: value.end}
        # In the middle of two integers a ramp is not an integer: 0.5 of the way it may be one by chance.
        return ends.get(fraction, value.start + (value.end - value.start) * 0.377)
    if isinstance(value, list):
        return [_sample(entry, fraction) for entry in value]
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
