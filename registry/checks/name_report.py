"""What the checks of names share: the problems, and the hint at the nearest name, within a limit of work."""

from __future__ import annotations

from collections.abc import Iterable

from registry.checks.collector import Collector
from registry.errors import Location, UserError
from registry.language.declaration import Declaration
from registry.language.spec import Spec
from registry.registries import Registries, Registry, closest_name

# Names that are compared for suggestions, in half a second; mistakes after these have none.
COMPARED = 50_000


class NameReport(Collector):
    """Collects the problems of the names in a spec."""

    def __init__(self, spec: Spec, names: Registries) -> None:
        super().__init__(spec, names)
        self.compared = 0

    def unknown_name(
        self,
        place: Location,
        what: str,
        name: str,
        choices: Iterable[str],
        otherwise: str = "",
    ) -> None:
        """Report an unknown name, with the nearest of the choices, or with another hint where none is near."""
        candidates = list(choices)
        # A generated spec can misspell thousands of names, each with thousands of choices.
        self.compared += len(candidates)
        hint = ""
        if self.compared <= COMPARED:
            near = closest_name(name, candidates)
            hint = f"did you mean '{near}'?" if near else otherwise
        self.wrong(place, f"unknown {what} '{name}'", hint)

    def declared(
        self, registry: Registry, name: str, place: Location
    ) -> Declaration | None:
        """Return the declaration under a registered name; report one that cannot be read, and return None."""
        try:
            return registry.declaration(name)
        except UserError as error:
            self.wrong(place, str(error))
            return None
