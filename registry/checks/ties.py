"""The entries of `tie`: which weight each one comes to be, chains followed to their ends."""

from __future__ import annotations

import re
from collections.abc import Mapping

from registry.errors import Problem
from registry.language.spec import Spec

WEIGHT = re.compile(r"[^\W\d]\w*(\.\w+)+", re.ASCII)


def roots(ties: Mapping[str, str]) -> dict[str, str]:
    """Return the weight that each tied one becomes, itself tied to nothing; one in a circle is left out."""
    found = {}
    for left in ties:
        seen, name = {left}, ties[left]
        while name in ties and name not in seen:
            seen.add(name)
            name = ties[name]
        if name not in seen:
            found[left] = name
    return found


def check_ties(spec: Spec) -> list[Problem]:
    """Return every name in `tie` that can be no weight of a module, and each circle, once."""
    problems = []
    for left, right in spec.tie.items():
        for name, place in ((left, spec.key_place("tie", left)), (right, spec.place("tie", left))):
            if name.split(".")[0] in spec.modules and not WEIGHT.fullmatch(name):
                message = f"tie must name weights, by words with dots, but has {name!r}"
                problems.append(Problem(place, message, "`words.word.weight: decoder.embedding.word.weight`"))
    told: set[str] = set()
    for left in spec.tie:
        path = [left]
        while (name := spec.tie.get(path[-1], left)) not in path:
            path.append(name)
        if spec.tie.get(path[-1]) == left and left not in told:
            told.update(path)
            message = f"tie goes in a circle: {' -> '.join([*path, left])}"
            problems.append(Problem(spec.key_place("tie", left), message, "remove one of these entries"))
    return problems
