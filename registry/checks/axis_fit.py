"""One axis of a stream at one axis of a port, and the two problems that it can have."""

from __future__ import annotations

from dataclasses import dataclass

from registry.checks.advice import join_hint, projection
from registry.checks.sizes import Size
from registry.errors import Problem
from registry.language.equation import Ref
from registry.language.ports import Port
from registry.language.spec import Spec
from registry.registries import Registries


@dataclass(frozen=True)
class AxisFit:
    """Axis number ``index`` of the stream ``ref``, its ``size``, and the size that the port expects there.

    ``first``: the port, and its stream, that gave the axis its meaning in this call.
    """

    spec: Spec
    names: Registries
    callee: str
    name: str
    port: Port
    index: int
    ref: Ref
    expected: Size
    size: Size
    first: tuple[str, Ref]

    def mismatch(self) -> Problem:
        """Return the problem of two different sizes."""
        axis = self.port.axes[self.index]
        what = axis if isinstance(axis, str) else "size"
        expected = f"{self.expected.axis}{self.expected.set_at(self.ref.place)}"
        must = f"port '{self.name}' of {self.callee} must be {what} {expected}"
        # A fixed size has no name, so the message names its position.
        where = f" on axis {self.index + 1}" if isinstance(axis, int) else ""
        actual = f"stream '{self.ref.name}' has {self.size.axis} there"
        message = f"{what} mismatch: {must}{where}, but {actual}{self.size.set_at(self.ref.place)}"
        hint = ""
        # The last axis is the width: a projection can change it.
        if self.index == len(self.port.axes) - 1:
            hint = projection(
                self.names,
                self.callee,
                self.name,
                self.ref,
                self.port.kinds,
                self.size.axis,
                self.expected.axis,
            )
        return Problem(self.ref.place, message, hint)

    def letters(self) -> Problem:
        """Return the problem of two axes that are not the same one."""
        other, first = self.first
        must = (
            f"port '{self.name}' of {self.callee} must have axis {self.expected.axis}"
        )
        if other != self.name or first != self.ref:
            must += f", as port '{other}' has (stream '{first.name}')"
        actual = f"stream '{self.ref.name}' has {self.size.axis} there"
        message = f"axis mismatch: {must}, but {actual}"
        hint = ""
        # Operations join or select rows, which are the first axis.
        if self.index == 0:
            here, there = (
                (self.name, self.ref, self.size),
                (other, first, self.expected),
            )
            hint = join_hint(self.spec, self.names, self.callee, here, there)
        return Problem(self.ref.place, message, hint)
