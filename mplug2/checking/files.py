"""Files that a spec names and that are not here, without opening those that are."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from registry import SOURCES, TASKS, Problem, Spec
from registry.checks.initial import missing_files
from registry.sources import SHORT_SOURCE, SourceSpec
from registry.training import training_plan


def absent_files(spec: Spec) -> list[Problem]:
    """Return a note for each file or folder that sources, tasks and `init` name and that is not here."""
    notes = missing_files(spec)
    for described in training_plan(spec).sources.values():
        for path, arguments in _splits(described):
            notes += _absent(spec, described, path, arguments)
    return list(dict.fromkeys(notes))


def absent_of_split(spec: Spec, source: str, split: str) -> list[Problem]:
    """Return a note for each file or folder of one split of a source that is not here."""
    sources = training_plan(spec).sources
    notes: list[Problem] = []
    for name in sources[source].mixture or [source]:
        for path, arguments in _splits(sources[name]):
            if path[-1] == split:
                notes += _absent(spec, sources[name], path, arguments)
    return notes


def _splits(
    described: SourceSpec,
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Yield the path of each split in the spec, with its arguments."""
    base = (
        ("data",)
        if described.name == SHORT_SOURCE
        else ("data", "sources", described.name)
    )
    for split, arguments in described.splits.items():
        yield (*base, split), {**described.arguments, **arguments}


def _absent(
    spec: Spec,
    described: SourceSpec,
    path: tuple[str, ...],
    arguments: Mapping[str, Any],
) -> Iterator[Problem]:
    declared = {*TASKS.declaration(described.task or "").file_arguments}
    # Those of the source that the split names: shards do not read the folder of another split.
    for source in SOURCES.names():
        if source in arguments:
            declared.update(SOURCES.declaration(source).file_arguments)
    for argument in sorted(declared & set(arguments)):
        value = arguments[argument]
        if not isinstance(value, str) or "://" in value or os.path.exists(value):
            continue
        places = [(*path, argument), (*path[:-1], argument), ("data", argument)]
        where = next((keys for keys in places if spec.node(*keys) is not None), path)
        yield Problem(spec.place(*where), f"{argument} '{value}' does not exist here")
