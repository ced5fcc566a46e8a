"""The sources of `data`: one without a name (the short form), or several by name, some of them mixtures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from registry.language.schema import DATA
from registry.language.spec import Spec
from registry.registries import Registries
from registry.splits import is_mixture, splits_of, task_name

SHORT_SOURCE = "data"  # the name of the only source of the short form


@dataclass(frozen=True)
class SourceSpec:
    """A named source: a task with its files for each split, or a mixture of other sources.

    ``mixture``: other sources and their weights; a weight of None means in proportion to their sizes.
    """

    name: str
    task: str | None
    arguments: dict[str, Any] = field(default_factory=dict)
    splits: dict[str, dict[str, Any]] = field(default_factory=dict)
    mixture: dict[str, float | None] | None = None


def read_sources(spec: Spec, names: Registries) -> dict[str, SourceSpec]:
    """Return the sources of a spec by name."""
    # A spec may only describe a network.
    if not spec.data:
        return {}
    # Arguments of the task, which all named sources share.
    shared = {name: value for name, value in spec.data.items() if name not in DATA}
    if spec.data.get("sources") is None:
        task = task_name(spec.data)
        splits = splits_of(spec.data, task, names)
        for split in splits:
            shared.pop(split, None)
        return {SHORT_SOURCE: SourceSpec(SHORT_SOURCE, task, shared, splits)}
    sources = {}
    for name, value in spec.data["sources"].items():
        if is_mixture(value):
            # A list has no weights: its sources are mixed in proportion to their sizes.
            weights = dict(value) if isinstance(value, dict) else dict.fromkeys(value)
            sources[name] = SourceSpec(name, None, mixture=weights)
            continue
        task = task_name(value) or task_name(spec.data)
        splits = splits_of(value, task, names)
        arguments = dict(shared)
        for key, setting in value.items():
            if key not in splits and key not in ("task", "kind"):
                arguments[key] = setting
        sources[name] = SourceSpec(name, task, arguments, splits)
    return sources


def splits_of_source(name: str, sources: Mapping[str, SourceSpec]) -> set[str]:
    """Return the splits of a source; of a mixture, those that all its sources have."""
    source = sources.get(name)
    if source is None:
        return set()
    if source.mixture is None:
        return set(source.splits)
    parts = [splits_of_source(part, sources) for part in source.mixture]
    # An empty mixture is reported by the checks.
    return set.intersection(*parts) if parts else set()
