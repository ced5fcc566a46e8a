"""The section `freeze`: a list of patterns, or patterns with how long each one holds.

`freeze: [vision.stem]` freezes for the complete run. In `freeze: {vision: {until: 1000}, text: true}` the
vision module trains after 1000 iterations; the value `false` exempts what its pattern matches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from registry.errors import Problem
from registry.language.patterns import is_selected, most_specific
from registry.yaml.tree import Node

Freeze = list[str] | dict[str, Any]
UNTIL = "until"
EXAMPLE = "`freeze: [vision.stem]` or `freeze: {vision: {until: 1000}}`"


def read_freeze(node: Node | None) -> tuple[Freeze, list[Problem]]:
    """Return the value of the section, and every problem of its form."""
    if node is None or node.value is None:
        return [], []
    if isinstance(node.value, dict):
        return _read_mapping(node)
    is_list = isinstance(node.value, list)
    if not is_list or not all(isinstance(entry.value, str) for entry in node.value):
        kind = "a list" if is_list else repr(node.value)
        message = f"'freeze' must be a list of patterns, but is {kind}"
        return [], [Problem(node.place, message, EXAMPLE)]
    return [entry.value for entry in node.value], []


def _read_mapping(node: Node) -> tuple[Freeze, list[Problem]]:
    values: dict[str, Any] = {}
    problems = []
    for pattern, entry in node.value.items():
        value = entry.plain()
        problem = _problem(pattern, value)
        if problem is None:
            values[pattern] = value
        else:
            hint = f"`{pattern}: {{until: 1000}}` or `{pattern}: true`"
            problems.append(Problem(entry.place, problem, hint))
    return values, problems


def _problem(pattern: str, value: Any) -> str | None:
    if isinstance(value, bool):
        return None
    what = f"freeze pattern '{pattern}'"
    if not isinstance(value, Mapping):
        return f"{what} must be true, false or {{until: ITERATIONS}}, but is {value!r}"
    unknown = [key for key in value if key != UNTIL]
    if unknown or UNTIL not in value:
        got = f"'{unknown[0]}'" if unknown else "nothing"
        return f"{what} takes the key 'until' alone (got {got})"
    until = value[UNTIL]
    # `until: true` would be 1 in Python.
    if isinstance(until, bool) or not isinstance(until, int) or until < 1:
        return f"{what}: 'until' must be a number of iterations, at least 1 (got {until!r})"
    return None


def frozen_until(freeze: Freeze, name: str) -> float:
    """Return how many iterations a parameter or module is frozen: 0 for none, inf for the complete run."""
    # A list only selects; a mapping has a value for each pattern.
    if isinstance(freeze, list):
        return math.inf if is_selected(freeze, name) else 0
    pattern = most_specific(freeze, name)
    if pattern is None:
        return 0
    value = freeze[pattern]
    if isinstance(value, Mapping):
        return float(value[UNTIL])
    return math.inf if value else 0
