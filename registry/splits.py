"""The form of a source in `data`: its task, its splits, or the sources that it mixes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.language.schema import DATA, EVALUATIONS, SPLITS
from registry.language.spec import Spec
from registry.registries import Registries


def task_name(settings: Mapping[str, Any]) -> str | None:
    """Return the task that a section names, by `task` or by its older name `kind`."""
    name = settings.get("task") or settings.get("kind")
    return name if isinstance(name, str) else None


def is_mixture(value: Any) -> bool:
    """Return whether the value of a source lists other sources: `[a, b]`, or by weight `{a: 2, b: 1}`."""
    if isinstance(value, list):
        return True
    # The keys of a source have texts and mappings as values, never numbers alone.
    if not isinstance(value, dict) or not value:
        return False
    return all(isinstance(weight, int | float) for weight in value.values())


def splits_of(
    settings: Mapping[str, Any], task: str | None, names: Registries
) -> dict[str, dict[str, Any]]:
    """Return the splits of a source: its keys with mappings that are not arguments of its task."""
    arguments: Mapping[str, Any] = {}
    if task is not None and task in names.tasks:
        arguments = names.tasks.declaration(task).arguments
    splits = {}
    for name, value in settings.items():
        # `train`, `val` and `test` are keys of `data` with a default.
        is_setting = name in DATA and name not in SPLITS
        if isinstance(value, dict) and name not in arguments and not is_setting:
            splits[name] = value
    return splits


def read_splits(spec: Spec) -> set[str]:
    """Return the names that a split may have: train, val, test, and what batches and evaluations read."""
    readers: list[Any] = [spec.eval, *(spec.eval.get(EVALUATIONS) or {}).values()]
    batches = spec.data.get("batches")
    if isinstance(batches, dict):
        readers += batches.values()
    names = set(SPLITS)
    for reader in readers:
        split = reader.get("split") if isinstance(reader, dict) else None
        if isinstance(split, str):
            names.add(split)
    return names
