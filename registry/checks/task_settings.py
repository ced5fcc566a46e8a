"""The arguments of tasks, as the sources of a spec and their splits set them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from registry.checks.graph import read_graph
from registry.checks.supply import source_inputs
from registry.errors import Location
from registry.language.declaration import Declaration
from registry.language.spec import Spec
from registry.registries import Registries
from registry.sources import SHORT_SOURCE, SourceSpec
from registry.training import training_plan


@dataclass(frozen=True)
class TaskSetting:
    """The arguments of a task for one split, with where they are set."""

    declaration: Declaration
    path: tuple[str, ...]  # of the split
    values: Mapping[str, Any]

    def value(self, argument: str) -> Any:
        """Return the value of an argument, set or by default; None if it is open."""
        if argument in self.values:
            return self.values[argument]
        parameter = self.declaration.arguments.get(argument)
        return None if parameter is None or parameter.required else parameter.default

    def place(self, spec: Spec, argument: str) -> Location:
        """Return where an argument is set: in the split, its source, or the section `data`."""
        for path in (self.path, self.path[:-1], ("data",)):
            if spec.node(*path, argument) is not None:
                return spec.place(*path, argument)
        return spec.key_place(*self.path)


def task_settings(
    spec: Spec, names: Registries
) -> Iterator[tuple[TaskSetting, list[str]]]:
    """Yield the settings of the task of each source and split, with the inputs that the source supplies."""
    training = training_plan(spec, names)
    for source, inputs in source_inputs(spec, names, training, read_graph(spec)):
        for described in _plain_sources(training.sources, source):
            if described.task is None or described.task not in names.tasks:
                continue
            declaration = names.tasks.declaration(described.task)
            for setting in _settings(described, declaration):
                yield setting, list(inputs)


def _plain_sources(
    sources: Mapping[str, SourceSpec], name: str
) -> Iterator[SourceSpec]:
    """Yield a source, or the parts of a mixture."""
    described = sources.get(name)
    if described is None:
        return
    if described.mixture is None:
        yield described
        return
    for part in described.mixture:
        yield from _plain_sources(sources, part)


def _settings(described: SourceSpec, declaration: Declaration) -> Iterator[TaskSetting]:
    """Yield the arguments of each split; those of the source alone if it has no split."""
    base: tuple[str, ...] = ("data", "sources", described.name)
    if described.name == SHORT_SOURCE:
        base = ("data",)
    for split, values in (described.splits or {"": {}}).items():
        path = (*base, split) if split else base
        # A split overrides what its source sets.
        yield TaskSetting(declaration, path, {**described.arguments, **values})
