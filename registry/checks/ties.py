"""The entries of `tie`: which weight each one becomes; chains are followed to their ends."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from registry.errors import Problem
from registry.language.spec import Spec

WEIGHT = re.compile(r"[^\W\d]\w*(\.\w+)+", re.ASCII)
TRANSPOSED = ".T"
EXAMPLE = "`words.word.weight: decoder.embedding.word.weight`"


class Root(NamedTuple):
    """The weight that a tied one becomes, and whether it is transposed."""

    name: str
    transposed: bool = False


def read_target(text: str) -> Root:
    """Return the right side of an entry of `tie`: a weight, or a weight with ``.T``."""
    return Root(text.removesuffix(TRANSPOSED), text.endswith(TRANSPOSED))


def roots(ties: Mapping[str, str]) -> dict[str, Root]:
    """Return the weight at the end of the chain of each tied one; a cycle has no end and is left out."""
    ends = {}
    for left in ties:
        seen = {left}
        name, transposed = read_target(ties[left])
        while name in ties and name not in seen:
            seen.add(name)
            target = read_target(ties[name])
            # Transposed twice is not transposed.
            name, transposed = target.name, transposed != target.transposed
        if name not in seen:
            ends[left] = Root(name, transposed)
    return ends


def check_ties(spec: Spec) -> list[Problem]:
    """Return every name in `tie` that cannot be a weight of a module, and each cycle once."""
    return _wrong_names(spec) + _cycles(spec)


def _wrong_names(spec: Spec) -> list[Problem]:
    problems = []
    for left, right in spec.tie.items():
        if left.endswith(TRANSPOSED):
            name = left.removesuffix(TRANSPOSED)
            message = f"only the right side of a tie can be transposed (got '{left}')"
            hint = f"`{name}: {right}{TRANSPOSED}`"
            problems.append(Problem(spec.key_place("tie", left), message, hint))
            continue
        sides = (
            (left, spec.key_place("tie", left)),
            (read_target(right).name, spec.place("tie", left)),
        )
        for name, place in sides:
            # An unknown module is reported with the other patterns.
            if name.split(".")[0] in spec.modules and not WEIGHT.fullmatch(name):
                message = f"tie must name weights, by words with dots, but has {name!r}"
                problems.append(Problem(place, message, EXAMPLE))
    return problems


def _cycles(spec: Spec) -> list[Problem]:
    problems = []
    reported: set[str] = set()
    for left in spec.tie:
        path = [left]
        name = read_target(spec.tie[left]).name
        while name in spec.tie and name not in path:
            path.append(name)
            name = read_target(spec.tie[name]).name
        # A chain may lead into a cycle: only entries that are in it close it.
        if name == left and left not in reported:
            reported.update(path)
            message = f"`tie` has a cycle: {' -> '.join([*path, left])}"
            place = spec.key_place("tie", left)
            problems.append(Problem(place, message, "remove one of these entries"))
    return problems
