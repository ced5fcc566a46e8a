"""Names and what they stand for: lazily, with wildcards and suggestions, open to other packages."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeVar, overload

from registry.errors import UserError
from registry.language.declaration import Declaration

Thing = TypeVar("Thing")


@dataclass
class _Entry:
    target: str  # "package.module:Name"
    owner: str  # who registered it, for the message to a second one
    thing: Any = None
    declaration: Declaration | None = None


class Registry:
    """One kind of named things ("module", "operation", ...); other packages add theirs by entry points.

    Entry points are looked up at the first name that is not known, or when all names are asked for.
    """

    def __init__(self, kind: str, group: str = "", requires: Sequence[str] = ()) -> None:
        """Make an empty registry; ``requires`` names what everything registered must have."""
        self.kind = kind
        self.group = group
        self.requires = tuple(requires)
        self._entries: dict[str, _Entry] = {}
        self._searched = not group

    @overload
    def register(self, name: str, target: str) -> None: ...
    @overload
    def register(self, name: str) -> Callable[[Thing], Thing]: ...
    def register(self, name: str, target: str | None = None) -> Callable[[Thing], Thing] | None:
        """Register `"package.module:Name"` lazily, or the class or function below the decorator.

        A second, different owner of a name is refused by `UserError`; the same one may come again.
        """
        caller = sys._getframe(1)
        owner = f"{os.path.relpath(caller.f_code.co_filename)}:{caller.f_lineno}"
        if target is not None:
            self._add(name, _Entry(target, owner))
            return None

        def decorate(thing: Thing) -> Thing:
            self._check_protocol(name, thing)
            self._add(
                name, _Entry(f"{thing.__module__}:{getattr(thing, '__qualname__', name)}", owner, thing)
            )
            return thing

        return decorate

    def _add(self, name: str, entry: _Entry) -> None:
        known = self._entries.get(name)
        if known is not None and known.target != entry.target:
            first = f"{known.target} (registered by {known.owner})"
            second = f"{entry.target} (registered by {entry.owner})"
            raise UserError(
                f"{self.kind} '{name}' must have one owner, but is {first} and {second}: choose another name"
            )
        if known is None or entry.thing is not None:
            self._entries[name] = entry

    def _search(self) -> None:
        """Add what the entry points of other packages offer, once."""
        if not self._searched:
            from importlib.metadata import entry_points  # slow to import, and most checks need none

            self._searched = True
            for point in entry_points(group=self.group):
                package = point.dist.name if point.dist is not None else "an installed package"
                self._add(point.name, _Entry(point.value, f"the entry points of {package}"))

    def _entry(self, name: str) -> _Entry:
        if name not in self:
            near = self.suggest(name)
            raise UserError(f"unknown {self.kind} '{name}'" + (f"; did you mean '{near}'?" if near else ""))
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        if name not in self._entries:
            self._search()
        return name in self._entries

    def names(self, pattern: str = "*") -> list[str]:
        """Return the sorted names that match a wildcard pattern, such as `"video*"`."""
        self._search()
        return sorted(name for name in self._entries if fnmatchcase(name, pattern))

    def suggest(self, name: str) -> str | None:
        """Return the registered name nearest to `name`, or None."""
        return nearest(name, self.names())

    def target(self, name: str) -> str:
        """Return the `"package.module:Name"` behind a name; raise `UserError`."""
        return self._entry(name).target

    def declaration(self, name: str) -> Declaration:
        """Return what a name promises, without importing it; raise `UserError`."""
        entry = self._entry(name)
        if entry.declaration is None:
            read = entry.thing is None
            entry.declaration = Declaration.read(entry.target) if read else Declaration.of(entry.thing)
        return entry.declaration

    def load(self, name: str) -> Any:
        """Return the class or function behind a name, imported now if it was not; raise `UserError`."""
        entry = self._entry(name)
        if entry.thing is None:
            module, _, attribute = entry.target.partition(":")
            try:
                entry.thing = getattr(importlib.import_module(module), attribute)
            except (ImportError, AttributeError) as error:
                raise UserError(
                    f"{self.kind} '{name}' ({entry.target}) cannot be imported: {error}"
                ) from error
            self._check_protocol(name, entry.thing)
        return entry.thing

    def _check_protocol(self, name: str, thing: object) -> None:
        """Raise `UserError` if a thing lacks what its protocol asks for (docs/extending.md)."""
        missing = [attribute for attribute in self.requires if not hasattr(thing, attribute)]
        if missing:
            raise UserError(
                f"{self.kind} '{name}' must have {', '.join(self.requires)}, but lacks {', '.join(missing)}: "
                "see docs/extending.md"
            )


def nearest(name: str, names: Any) -> str | None:
    """Return the one of `names` that `name` was probably meant to be, or None."""
    near = difflib.get_close_matches(name, list(names), 1, 0.6)
    return near[0] if near else None


MODULES = Registry("module", "mplug2.modules")
OPERATIONS = Registry("operation", "mplug2.operations")
TASKS = Registry("task", "mplug2.tasks")
SOURCES = Registry("source", "mplug2.sources")
EVALUATORS = Registry("evaluator", "mplug2.evaluators", requires=("goals", "update", "compute"))
METRICS = Registry("metric", "mplug2.metrics", requires=("inputs", "outputs", "compute"))
LOGGERS = Registry("logger", "mplug2.loggers", requires=("log", "close"))
OPTIMIZERS = Registry("optimizer", "mplug2.optimizers")
ENGINES = Registry("engine", "mplug2.engines", requires=("backward", "step", "save", "load", "consolidate"))
KEY_MAPS = Registry("key map", "mplug2.key_maps")


@dataclass(frozen=True)
class Catalogue:
    """The registries that a spec is checked against and built from."""

    modules: Registry = MODULES
    operations: Registry = OPERATIONS
    tasks: Registry = TASKS
    metrics: Registry = METRICS
    sources: Registry = SOURCES
    evaluators: Registry = EVALUATORS
    loggers: Registry = LOGGERS
    optimizers: Registry = OPTIMIZERS
    engines: Registry = ENGINES
    key_maps: Registry = KEY_MAPS


CATALOGUE = Catalogue()
