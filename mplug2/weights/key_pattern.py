"""Patterns of state-dict keys with named holes, for matching keys and for writing them.

A hole matches a part of the key and carries its value to the other side of a row:

- ``{layer}``: an integer; ``{layer-first}``, ``{layer+2}``: the same integer, shifted.
- ``{leaf:weight|bias}``: one of these words (any regular expression without braces).
- ``{rest*}``: any text, dots included.

A hole whose name is bound beforehand is a constant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

HOLE = re.compile(
    r"\{(?P<name>[a-z_]+)(?:(?P<sign>[+-])(?P<shift>\w+))?(?P<any>\*)?(?::(?P<form>[^{}]*))?\}"
)
INTEGER = r"\d+"

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Hole:
    """One hole: its name, what it matches, and by how much its integer is shifted."""

    name: str
    form: str = ""
    shift: str = ""
    sign: int = 1

    def offset(self, values: Values) -> int:
        """Return the shift as a number; KeyError if it is a name without a value."""
        if not self.shift:
            return 0
        # A number, or the name of one: `{layer+2}`, `{layer-first}`.
        shift = self.shift if self.shift.isdigit() else values[self.shift]
        return self.sign * int(shift)

    def text(self, values: Values) -> str:
        """Return the text in the hole."""
        value = values[self.name]
        return (
            str(value + self.offset(values)) if isinstance(value, int) else str(value)
        )


@dataclass(frozen=True)
class KeyPattern:
    """A compiled pattern: literal pieces and holes alternately."""

    text: str
    pieces: tuple[str | Hole, ...]

    @property
    def holes(self) -> tuple[Hole, ...]:
        """The holes, from left to right."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Hole))

    def bind(self, constants: Values) -> KeyMatcher:
        """Return what matches keys; ``constants``: values of holes, and the numbers that shifts name."""
        parts: list[str] = []
        prefix = ""
        literal = True
        for piece in self.pieces:
            if isinstance(piece, Hole) and piece.name not in constants:
                literal = False
                is_repeated = f"(?P<{piece.name}>" in "".join(parts)
                # A hole that occurs twice must have the same text both times.
                expression = f"(?P<{piece.name}>{piece.form})"
                parts.append(f"(?P={piece.name})" if is_repeated else expression)
                continue
            text = piece if isinstance(piece, str) else piece.text(constants)
            parts.append(re.escape(text))
            prefix += text if literal else ""
        holes = tuple(hole for hole in self.holes if hole.name not in constants)
        shifts = []
        for hole in holes:
            shifts.append(hole.offset(constants) if hole.form == INTEGER else 0)
        return KeyMatcher(re.compile("".join(parts)), prefix, holes, tuple(shifts))

    def write(self, values: Values) -> str | None:
        """Return the key with ``values`` in its holes; None if a shifted integer would be negative."""
        parts = []
        for piece in self.pieces:
            if isinstance(piece, str):
                parts.append(piece)
                continue
            value = values[piece.name]
            if isinstance(value, int) and value + piece.offset(values) < 0:
                return None
            parts.append(piece.text(values))
        return "".join(parts)


@dataclass(frozen=True)
class KeyMatcher:
    """A pattern with its constants filled in; ``prefix``: what every key that matches begins with."""

    expression: re.Pattern[str]
    prefix: str
    holes: tuple[Hole, ...]
    shifts: tuple[int, ...]

    def matches(self, key: str) -> dict[str, Any] | None:
        """Return the values of the holes in ``key``, or None if it does not match."""
        # Much cheaper than the expression, and most keys end here.
        if not key.startswith(self.prefix):
            return None
        match = self.expression.fullmatch(key)
        if match is None:
            return None
        values: dict[str, Any] = {}
        for hole, shift in zip(self.holes, self.shifts, strict=True):
            text = match[hole.name]
            values[hole.name] = int(text) - shift if hole.form == INTEGER else text
            # A layer before the first one: another row is for it.
            if hole.form == INTEGER and values[hole.name] < 0:
                return None
        return values

    def may_match(self, head: str) -> bool:
        """Return whether a key with ``head`` before its first dot can match."""
        first, dot, _ = self.prefix.partition(".")
        return first == head if dot else head.startswith(first)


def read_pattern(text: str, forms: Mapping[str, str] | None = None) -> KeyPattern:
    """Return the pattern that ``text`` describes; ValueError if its braces are wrong.

    ``forms``: what holes match that the other side of a row declares (``{leaf}`` for ``{leaf:weight|bias}``).
    """
    return _read_pattern(text, tuple(sorted((forms or {}).items())))


@lru_cache(maxsize=16384)
def _read_pattern(text: str, forms: tuple[tuple[str, str], ...]) -> KeyPattern:
    declared = dict(forms)
    pieces: list[str | Hole] = []
    end = 0
    for match in HOLE.finditer(text):
        if match.start() > end:
            pieces.append(text[end : match.start()])
        end = match.end()
        name = match["name"]
        form = ".*" if match["any"] else match["form"] or declared.get(name, INTEGER)
        shift = match["shift"] or ""
        pieces.append(Hole(name, form, shift, -1 if match["sign"] == "-" else 1))
    if end < len(text):
        pieces.append(text[end:])
    literal = "".join(piece for piece in pieces if isinstance(piece, str))
    if "{" in literal or "}" in literal or not pieces:
        raise ValueError(
            f"'{text}' must be a key with holes such as {{layer}} or {{leaf:weight|bias}}"
        )
    return KeyPattern(text, tuple(pieces))


def declared_forms(text: str) -> dict[str, str]:
    """Return what the holes of ``text`` match, if they are known."""
    holes = read_pattern(text).holes
    return {hole.name: hole.form for hole in holes if hole.form != INTEGER}
