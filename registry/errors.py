"""Locations and problems: the errors that a user reads."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass, field

SHOWN = 100  # characters of a source line that a message shows
LONGEST = 400  # characters of a word that a message shows: longer ones are cut short
_LONG_WORD = re.compile(rf"\S{{{LONGEST + 1},}}")
# what a terminal would obey, or cannot show
CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


@dataclass(frozen=True, slots=True)
class Location:
    """A position in a source: file, line and column counted from 1, and the text of that line.

    Line 0 means a source without lines, a command-line override: its text is the position.
    `call` is set within a definition of the spec, when the position was reached by calling it.
    """

    file: str
    line: int = 0
    column: int = 0
    text: str = ""
    call: CallSite | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        if self.line:
            return f"{self.file}:{self.line}:{self.column}"
        return f"{self.file}: {self.text}" if self.text else self.file

    def seen_from(self, other: Location) -> str:
        """Return the position as `other` would quote it: the folder is left out within one file."""
        if self.line and self.file == other.file:
            return f"{self.file.rsplit('/', 1)[-1]}:{self.line}:{self.column}"
        return str(self)

    def excerpt(self) -> str:
        """Return the source line with a caret below the column, or nothing where there is no line."""
        if not self.line or not self.text.strip():
            return ""
        # Of a long line, the part around the column.
        first = max(0, self.column - SHOWN // 2) if len(self.text) > SHOWN else 0
        # Character for character, so that the caret stays at its column.
        shown = CONTROL.sub("\ufffd", self.text[first : first + SHOWN])
        # A tab is as wide below the line as in it.
        blank = re.sub(r"[^\t]", " ", shown[: self.column - 1 - first])
        return f"{self.line:>8} | {shown}\n{'':>8} | {blank}^"


@dataclass(frozen=True, slots=True)
class CallSite:
    """A call of a definition: the dotted name of the stream it computes, the definition, and its position."""

    name: str
    definition: str
    place: Location

    def trace(self) -> list[str]:
        """Return one line for this call, and one for each call around it."""
        lines = []
        site: CallSite | None = self
        while site is not None:
            lines.append(
                f"    in the call `{site.name}: {site.definition}(...)` at {site.place}"
            )
            site = site.place.call
        return lines


NOWHERE = Location("")


def visible(text: str) -> str:
    """Return a text to be printed: control and half characters escaped (`\\x1b`), long words cut short."""
    text = _LONG_WORD.sub(
        lambda match: f"{match.group()[: LONGEST // 2]}...{match.group()[-40:]}", text
    )
    return CONTROL.sub(lambda match: ascii(match.group())[1:-1], text)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where, what is and what must be, and a fix that can be pasted."""

    place: Location
    message: str
    hint: str = ""

    def __str__(self) -> str:
        calls = self.place.call.trace() if self.place.call is not None else []
        lines = [visible(f"{self.place}: {self.message}")]
        if excerpt := self.place.excerpt():
            lines.append(excerpt)
        lines += [visible(line) for line in calls]
        if self.hint:
            lines.append(visible(f"    hint: {self.hint}"))
        return "\n".join(lines)


class UserError(Exception):
    """A mistake of the user: the command line prints the message alone and exits with 2."""


class SpecError(UserError):
    """Every problem that was found in a composition spec, in the order of their positions.

    A problem within a definition is kept for the first call only.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        by_meaning: dict[tuple[Location, str], Problem] = {}
        for problem in sorted(set(problems), key=_position):
            by_meaning.setdefault((problem.place, _without_call(problem)), problem)
        self.problems = list(by_meaning.values())
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @classmethod
    def at(cls, place: Location, message: str, hint: str = "") -> SpecError:
        """Return the error of a single problem."""
        return cls([Problem(place, message, hint)])


def require(value: object, expected: type | tuple[type, ...], name: str) -> None:
    """Raise `UserError` if an argument of a Python function is of another class than expected.

    ``name``: the argument, or what it holds.
    """
    if isinstance(value, expected):
        return
    classes = expected if isinstance(expected, tuple) else (expected,)
    listed = " or ".join(expected_class.__name__ for expected_class in classes)
    raise UserError(
        f"{name} must be of the class {listed} (got {type(value).__name__}: {_short(value)})"
    )


def _short(value: object) -> str:
    return visible(reprlib.repr(value))


def _without_call(problem: Problem) -> str:
    """Return the message of a problem with the names of streams as their definition has them."""
    site = problem.place.call
    if site is None:
        return problem.message + problem.hint
    # Without the hint, which may name another stream in each call.
    return problem.message.replace(f"{site.name}.", "")


def _position(problem: Problem) -> tuple[str, int, int, str, str]:
    place = problem.place
    # Overrides have no line: they are in the order of their texts.
    text = "" if place.line else place.text
    return place.file, place.line, place.column, text, problem.message
