"""The section `adapt`: patterns of linear layers with the low-rank adapters that they get.

In `adapt: {vision: {rank: 8}, vision.stem: false}` the linear layers of the vision module get adapters, but
those of its stem do not. The most specific pattern decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from registry.errors import Problem
from registry.language.patterns import most_specific
from registry.yaml.tree import Node

KINDS = ("lora", "dora")
KEYS = ("rank", "alpha", "kind")
EXAMPLE = "`adapt: {'*.attention': {rank: 8, alpha: 16, kind: lora}}`"
Adapt = dict[str, Any]


@dataclass(frozen=True)
class Adapter:
    """What one linear layer gets: ``alpha`` / ``rank`` scales what the adapter adds."""

    rank: int
    alpha: float
    kind: str


def read_adapt(node: Node | None) -> tuple[Adapt, list[Problem]]:
    """Return the value of the section, and every problem of its form."""
    if node is None or node.value is None:
        return {}, []
    if not isinstance(node.value, dict):
        return {}, [
            Problem(node.place, "'adapt' must be a mapping of patterns", EXAMPLE)
        ]
    values: Adapt = {}
    problems = []
    for pattern, entry in node.value.items():
        value = entry.plain()
        if value is None:
            continue  # An empty entry deletes one of the file that this one extends.
        problem = _problem(pattern, value)
        if problem is None:
            values[pattern] = value
        else:
            problems.append(Problem(entry.place, problem, EXAMPLE))
    return values, problems


def _problem(pattern: str, value: Any) -> str | None:
    what = f"adapt pattern '{pattern}'"
    # It takes adapters off that a wider pattern gives.
    if value is False:
        return None
    if not isinstance(value, Mapping):
        return f"{what} must be a mapping with 'rank', or false, but is {value!r}"
    unknown = [key for key in value if key not in KEYS]
    if unknown:
        return f"{what} takes the keys {', '.join(KEYS)} (got '{unknown[0]}')"
    rank = value.get("rank")
    # The defaults fit, so that only values that were set can be wrong.
    alpha, kind = value.get("alpha", 1), value.get("kind", KINDS[0])
    # `rank: true` would be 1 in Python.
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        return f"{what}: 'rank' must be a number of at least 1 (got {rank!r})"
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or alpha <= 0:
        return f"{what}: 'alpha' must be a number above 0 (got {alpha!r})"
    if kind not in KINDS:
        return f"{what}: 'kind' must be one of {', '.join(KINDS)} (got {kind!r})"
    return None


def adapter_of(adapt: Adapt, name: str) -> Adapter | None:
    """Return the adapter of the layer with this name; None for a layer that gets none."""
    pattern = most_specific(adapt, name)
    if pattern is None or adapt[pattern] is False:
        return None
    value = adapt[pattern]
    # By default, the change has the scale 1, as released for alpha = rank.
    alpha = float(value.get("alpha", value["rank"]))
    return Adapter(value["rank"], alpha, value.get("kind", KINDS[0]))
