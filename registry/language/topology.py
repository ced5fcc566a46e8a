"""The order of names that depend on each other: streams of a flow, definitions that call definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def topological_order(depends_on: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the names, each after those that it depends on, without those that need a cycle.

    Every name that is depended on must be a key of the mapping. Takes linear time and does not recurse:
    specs are untrusted input.
    """
    num_missing: dict[str, int] = {}
    dependents: dict[str, list[str]] = {name: [] for name in depends_on}
    for name, needed in depends_on.items():
        num_missing[name] = len(needed)
        for source in needed:
            dependents[source].append(name)
    order = [name for name, count in num_missing.items() if count == 0]
    # The list grows while the loop walks along it.
    for name in order:
        for dependent in dependents[name]:
            # A name that is needed twice was counted twice.
            num_missing[dependent] -= 1
            if num_missing[dependent] == 0:
                order.append(dependent)
    return order
