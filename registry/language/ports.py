"""The ports of modules and operations: the types they take, and how streams fill them.

A type is a kind and its axes (`frames B 3 T H W`); an index also names the axis whose rows it counts
(`index A -> Q`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from registry.errors import require
from registry.kinds import KINDS

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
AXIS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(@[A-Za-z_][A-Za-z0-9_]*)?|[0-9]{1,9}")
FOLLOWS = "@"  # `M@mask`: an axis whose size follows from the values of the stream in port `mask`
# Between complete types. Without spaces, `text|tokens B L` are kinds of one type.
ALTERNATIVES = re.compile(r"\s+\|\s+")
ARROW = "->"  # before the axis whose rows an index counts

Axis = str | int


@dataclass(frozen=True, slots=True)
class StreamType:
    """What flows through a stream: its kind and its axes, sizes where known, else names.

    `target`: the axis whose rows an index counts, or None.
    """

    kind: str
    axes: tuple[Axis, ...] = ()
    target: Axis | None = None

    def __str__(self) -> str:
        return _written(self.kind, self.axes, self.target)


@dataclass(frozen=True, slots=True)
class Port:
    """One port: the kinds it takes (`"tokens"`, `"text|tokens"`), its axes, and how it is filled.

    `others`: further types that it takes, such as `image B 3 H W` of `"frames B 3 T H W | image B 3 H W"`.
    """

    kind: str
    axes: tuple[Axis, ...] = ()
    optional: bool = False
    variadic: bool = False
    target: Axis | None = None  # the axis whose rows an index counts
    named_by_call: bool = False  # `"**parts"`: as many ports as a call names by keyword
    others: tuple[Port, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """All kinds that the port takes."""
        kinds = self.kind.split("|")
        for other in self.others:
            kinds += other.kinds
        return tuple(kinds)

    @property
    def alternatives(self) -> tuple[Port, ...]:
        """The port with each of its types alone."""
        return (replace(self, others=()), *self.others)

    @property
    def names(self) -> Iterator[Axis]:
        """All axes that the port names: its own, and the one whose rows it counts."""
        for port in (self, *self.others):
            yield from port.axes
            if port.target is not None:
                yield port.target

    def fitting(self, kind: str, axes: int) -> Port | None:
        """Return the type that a stream of a kind and a number of axes fits, or None."""
        for port in self.alternatives:
            # The number of axes decides between `image B 3 H W` and `frames B 3 T H W`.
            if kind in port.kinds and len(port.axes) == axes:
                return port
        return None

    def renamed(self, axes: Mapping[Axis, Axis]) -> Port:
        """Return the port with other names for some axes."""
        renamed = tuple(axes.get(axis, axis) for axis in self.axes)
        target = None if self.target is None else axes.get(self.target, self.target)
        others = tuple(other.renamed(axes) for other in self.others)
        return replace(self, axes=renamed, target=target, others=others)

    def __str__(self) -> str:
        first = _written(self.kind, self.axes, self.target)
        return " | ".join([first, *map(str, self.others)])


def _written(kind: str, axes: tuple[Axis, ...], target: Axis | None) -> str:
    """Return a type as a spec writes it."""
    words = [kind, *map(str, axes)]
    if target is not None:
        words += [ARROW, str(target)]
    return " ".join(words)


def read_type(text: str) -> StreamType:
    """Return the type that `"frames B 3 T H W"` writes; raise `ValueError` with one sentence."""
    port = read_port(text)
    if port.others:
        raise ValueError(f"a stream must have one type, but has '{port}'")
    if "|" in port.kind:
        raise ValueError(f"a stream must have one kind, but has '{port.kind}'")
    if KINDS[port.kind].ports_only:
        raise ValueError(f"'{port.kind}' is a kind of ports only, not of streams")
    # An axis of a stream may be compared with others, so it needs a name.
    if "_" in port.names:
        raise ValueError("'_' is an axis in ports only: give the axis a letter")
    for axis in port.names:
        if FOLLOWS in str(axis):
            raise ValueError(
                f"'{FOLLOWS}' is allowed in the axes of outputs only, but is in '{axis}'"
            )
    return StreamType(port.kind, port.axes, port.target)


def followed_axes(outputs: Mapping[str, Port]) -> dict[str, str]:
    """Return the axes of outputs that follow from the values of an input, each with the port of that."""
    axes: dict[str, str] = {}
    for port in outputs.values():
        for axis in port.names:
            _, mark, followed = str(axis).partition(FOLLOWS)
            if mark:
                axes[str(axis)] = followed
    return axes


def read_port(text: str, name: str = "") -> Port:
    """Return the port that `text` and the marks of its name declare; raise `ValueError` with one sentence.

    Marks: `"name?"` may stay empty, `"*name"` takes any number of streams, `"**name"` as many as a call
    names by keyword.
    """
    require(text, str, "a port")
    # Marks belong to the port, so to all of its types.
    first, *others = (_one_type(part) for part in ALTERNATIVES.split(text.strip()))
    return replace(
        first,
        optional=name.endswith("?"),
        variadic=name.startswith("*") and not name.startswith("**"),
        named_by_call=name.startswith("**"),
        others=tuple(others),
    )


def _one_type(text: str) -> Port:
    """Return the port of one type; raise `ValueError`."""
    before, arrow, after = text.partition(ARROW)
    # An empty text has the kind '', which is unknown.
    kinds, *axes = before.split() or [""]
    for kind in kinds.split("|"):
        if kind not in KINDS:
            raise ValueError(f"unknown kind '{kind}'")
        if axes and not KINDS[kind].has_axes:
            raise ValueError(f"kind '{kind}' has no axes, but has '{' '.join(axes)}'")
        if arrow and not KINDS[kind].counts_rows:
            raise ValueError(
                f"kind '{kind}' counts no rows, so it cannot have '{ARROW}{after}'"
            )
    sizes = tuple(_axis(axis) for axis in axes)
    target = _target(after) if arrow else None
    return Port(kinds, sizes, target=target)


def _axis(text: str) -> Axis:
    """Return one axis, a name or a size; raise `ValueError`."""
    # The pattern bounds a size to nine digits, so that `int` stays cheap.
    if not AXIS.fullmatch(text):
        raise ValueError(f"an axis must be a name or a size, but is '{text}'")
    if not text.isdigit():
        return text
    if int(text) < 1:
        raise ValueError(f"a size must be at least 1, but is {text}")
    return int(text)


def _target(text: str) -> Axis:
    """Return the axis after the arrow of an index; raise `ValueError`."""
    targets = text.split()
    if len(targets) != 1:
        count = len(targets) or "none"
        raise ValueError(
            f"one axis must follow '{ARROW}', the one whose rows are counted (got {count})"
        )
    return _axis(targets[0])


def read_ports(declared: dict[str, str] | str) -> dict[str, Port]:
    """Return the ports that a declaration's literal writes, by name; one nameless port has the name ''."""
    if isinstance(declared, str):
        return {"": read_port(declared)}
    ports: dict[str, Port] = {}
    for name, text in declared.items():
        # One star or two: `*parts`, `**parts`.
        bare = name.removeprefix("*").removeprefix("*").removesuffix("?")
        if name and not NAME.fullmatch(bare):
            raise ValueError(f"a port must be named by a word, but is named '{name}'")
        if bare in ports:
            raise ValueError(
                f"a port must be declared once, but '{bare}' is declared twice"
            )
        ports[bare] = read_port(text, name)
    # A keyword of a call could then belong to either.
    if sum(port.named_by_call for port in ports.values()) > 1:
        raise ValueError("at most one port may begin with '**'")
    return ports
