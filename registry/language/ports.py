"""The ports of modules and operations: kind, axes, whether one may stay empty or takes many streams."""

from __future__ import annotations

import re
from dataclasses import dataclass

from registry.kinds import KINDS

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
AXIS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]{1,9}")

Axis = str | int


@dataclass(frozen=True, slots=True)
class StreamType:
    """What flows through a stream: its kind and its axes, sizes where known, else names."""

    kind: str
    axes: tuple[Axis, ...] = ()

    def __str__(self) -> str:
        return " ".join([self.kind, *map(str, self.axes)])


@dataclass(frozen=True, slots=True)
class Port:
    """One port: the kinds it takes (`"tokens"`, `"text|tokens"`), its axes, and how it is filled."""

    kind: str
    axes: tuple[Axis, ...] = ()
    optional: bool = False
    variadic: bool = False

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that the port takes."""
        return tuple(self.kind.split("|"))

    def __str__(self) -> str:
        return " ".join([self.kind, *map(str, self.axes)])


def read_type(text: str) -> StreamType:
    """Return the type that `"frames B 3 T H W"` writes; raise `ValueError` with one sentence."""
    port = read_port(text)
    if "|" in port.kind:
        raise ValueError(f"a stream must have one kind, but has '{port.kind}'")
    if KINDS[port.kind].ports_only:
        raise ValueError(f"'{port.kind}' is a kind of ports only, not of streams")
    if "_" in port.axes:
        raise ValueError("'_' may stand for an axis in ports only: give the axis a letter of its own")
    return StreamType(port.kind, port.axes)


def read_port(text: str, name: str = "") -> Port:
    """Return the port that `text` and the marks of its name (`"name?"`, `"*name"`) declare.

    Raises `ValueError` with one sentence.
    """
    kinds, *axes = text.split() or [""]
    for kind in kinds.split("|"):
        if kind not in KINDS:
            raise ValueError(f"unknown kind '{kind}'")
        if axes and not KINDS[kind].has_axes:
            raise ValueError(f"kind '{kind}' has no axes, but has '{' '.join(axes)}'")
    for axis in axes:
        if not AXIS.fullmatch(axis):
            raise ValueError(f"an axis must be a name or a size, but is '{axis}'")
        if axis.isdigit() and int(axis) < 1:
            raise ValueError(f"a size must be at least 1, but is {axis}")
    sizes = tuple(int(axis) if axis.isdigit() else axis for axis in axes)
    return Port(kinds, sizes, name.endswith("?"), name.startswith("*"))


def read_ports(declared: dict[str, str] | str) -> dict[str, Port]:
    """Return the ports that a declaration's literal writes, by name; one nameless port has the name ''."""
    if isinstance(declared, str):
        return {"": read_port(declared)}
    ports: dict[str, Port] = {}
    for name, text in declared.items():
        bare = name.removeprefix("*").removesuffix("?")
        if not NAME.fullmatch(bare):
            raise ValueError(f"a port must be named by a word, but is named '{name}'")
        ports[bare] = read_port(text, name)
    return ports
