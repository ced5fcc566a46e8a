"""What the checks share: a list of problems, and the message for an unknown name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from registry.errors import Location, Problem
from registry.language.schema import Key
from registry.language.spec import Spec
from registry.registries import Registries, closest_name


class Collector:
    """Collects the problems that a check finds in a spec."""

    def __init__(self, spec: Spec, names: Registries) -> None:
        self.spec, self.names = spec, names
        self.problems: list[Problem] = []

    def wrong(self, place: Location, message: str, hint: str = "") -> None:
        """Add a problem at a position."""
        self.problems.append(Problem(place, message, hint))

    def in_range(self, what: str, key: Key, value: Any, place: Location) -> None:
        """Check the numbers of a value against the range of its key."""
        # A range holds for each number of a list, and for each rate of a mapping.
        numbers = [value]
        if isinstance(value, dict | list):
            numbers = list(value.values()) if isinstance(value, dict) else value
        for number in numbers:
            # None, or another type, which the check of types reports.
            if not isinstance(number, int | float):
                continue
            limit = None
            if key.least is not None and number < key.least:
                limit = f"at least {key.least:g}"
            elif number <= key.above:
                limit = f"more than {key.above:g}"
            elif number > key.most:
                limit = f"at most {key.most:g}"
            elif number >= key.below:
                limit = f"less than {key.below:g}"
            if limit is not None:
                self.wrong(place, f"{what} must be {limit}, but is {number:g}")

    def unknown(
        self,
        place: Location,
        what: str,
        name: str,
        choices: Iterable[str],
        meant: str = "",
    ) -> None:
        """Add the problem of an unknown name, with a hint: what is ``meant``, the closest choice, or all."""
        choices = list(choices)
        suggestion = closest_name(name, choices)
        hint = f"one of {', '.join(choices)}" if choices else ""
        if suggestion:
            hint = f"did you mean '{suggestion}'?"
        hint = meant or hint
        self.wrong(place, f"unknown {what} '{name}'", hint)
