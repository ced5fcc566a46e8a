"""What the checks share: a list of problems, and the message for an unknown name."""

from __future__ import annotations

from collections.abc import Iterable

from registry.errors import Place, Problem
from registry.language.spec import Spec
from registry.registries import Catalogue, nearest


class Collector:
    """Collects the problems that a check finds in a spec."""

    def __init__(self, spec: Spec, names: Catalogue) -> None:
        self.spec, self.names = spec, names
        self.problems: list[Problem] = []

    def wrong(self, place: Place, message: str, hint: str = "") -> None:
        """Add a problem at a position."""
        self.problems.append(Problem(place, message, hint))

    def unknown(self, place: Place, what: str, name: str, choices: Iterable[str]) -> None:
        """Add the problem of an unknown name, with the closest of the choices or all of them as hint."""
        choices = list(choices)
        suggestion = nearest(name, choices)
        hint = f"one of {', '.join(choices)}" if choices else ""
        if suggestion:
            hint = f"did you mean '{suggestion}'?"
        self.wrong(place, f"unknown {what} '{name}'", hint)
