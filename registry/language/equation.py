"""One line of a flow: `evidence: take(memory, owner)`, a call of a module or operation that names a stream.

The values of a call are streams (`memory`, `both.vision`), averaged streams (`ema(logits)`), modules
(`@decoder`), and, by keyword only, literals (numbers, strings, truth values, lists, ramps).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from keyword import kwlist
from typing import Any

from registry.errors import NOWHERE, Location

# Words that are values, in the spelling of YAML and of Python.
WORDS = {
    "true": True,
    "false": False,
    "null": None,
    "none": None,
    "True": True,
    "False": False,
    "None": None,
}
# What Python cannot read as a name. True, False and None are values of a line.
KEYWORDS = frozenset(kwlist) - set(WORDS)


@dataclass(frozen=True)
class Ref:
    """A stream that is used: its name, its field (`both.vision`), and whether averaged (`ema`).

    The name of a stream of a call has dots (`losses.both`); a field is always one word.
    """

    stream: str
    field: str | None = None
    ema: bool = False
    place: Location = dataclasses.field(default=NOWHERE, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The stream with its field, as it is written without `ema`."""
        return self.stream if self.field is None else f"{self.stream}.{self.field}"

    @property
    def local_name(self) -> str:
        """The name without the call that it is in, for what a user may paste into a definition."""
        site = self.place.call
        return self.name if site is None else self.name.removeprefix(f"{site.name}.")

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the name, which dots separate."""
        return tuple(self.name.split("."))

    def __str__(self) -> str:
        return f"ema({self.name})" if self.ema else self.name


def make_ref(words: Sequence[str], ema: bool = False, place: Location = NOWHERE) -> Ref:
    """Return the stream that some words name; the last of several is its field."""
    if len(words) == 1:
        return Ref(words[0], None, ema, place)
    return Ref(".".join(words[:-1]), words[-1], ema, place)


@dataclass(frozen=True)
class ModuleRef:
    """A module that is handed to an operation: `@decoder`."""

    name: str
    place: Location = dataclasses.field(default=NOWHERE, compare=False, repr=False)

    def __str__(self) -> str:
        return f"@{self.name}"


@dataclass(frozen=True)
class Literal:
    """A value that is written in the line itself."""

    value: Any
    place: Location = dataclasses.field(default=NOWHERE, compare=False, repr=False)

    def __str__(self) -> str:
        return repr(self.value)


Argument = Ref | ModuleRef | Literal


@dataclass(frozen=True)
class Equation:
    """`name: callee(positional, key=value)`: one named stream and the call that computes it."""

    name: str
    callee: str
    positional: tuple[Ref | ModuleRef, ...] = ()
    keywords: dict[str, Argument] = dataclasses.field(default_factory=dict)
    place: Location = dataclasses.field(default=NOWHERE, compare=False, repr=False)
    text: str = dataclasses.field(default="", compare=False, repr=False)
    keys: dict[str, Location] = dataclasses.field(
        default_factory=dict, compare=False, repr=False
    )

    def arguments(self) -> Iterator[Argument]:
        """Yield all arguments, the positional ones first."""
        yield from self.positional
        yield from self.keywords.values()

    def refs(self) -> Iterator[Ref]:
        """Yield the streams that the line uses."""
        return (argument for argument in self.arguments() if isinstance(argument, Ref))

    def modules(self) -> Iterator[ModuleRef]:
        """Yield the modules that the line hands on by `@`."""
        return (
            argument for argument in self.arguments() if isinstance(argument, ModuleRef)
        )

    def write(self) -> str:
        """Return the call as a line of text."""
        written = [str(argument) for argument in self.positional]
        for name, argument in self.keywords.items():
            written.append(f"{name}={argument}")
        return f"{self.callee}({', '.join(written)})"


def name_problem(name: str) -> str:
    """Return why a name cannot be used in flow lines, or an empty text."""
    if name in WORDS:
        return f"'{name}' is a value in flow lines, so it cannot be a name"
    if name in KEYWORDS:
        return f"'{name}' is a Python keyword, so no flow line can use it"
    return ""
