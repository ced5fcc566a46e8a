"""Check stage 2, patterns: those of `freeze`, `tie`, `lr` and `no_decay` that can match no module."""

from __future__ import annotations

from registry.errors import Location, Problem
from registry.language.patterns import NEGATION, base, is_negated, may_match
from registry.language.schema import TRAIN
from registry.language.spec import Spec
from registry.registries import closest_name


def check_patterns(spec: Spec) -> list[Problem]:
    """Return the patterns whose first word is not a module, with the module that was probably meant."""
    problems = []
    for pattern, place in _patterns(spec):
        if may_match(pattern, spec.modules):
            continue
        # Parameters are not known here: only the module is compared.
        first = base(pattern).split(".")[0]
        near = closest_name(first, spec.modules)
        hint = f"modules: {', '.join(spec.modules) or 'none'}"
        if near is not None:
            mark = NEGATION if is_negated(pattern) else ""
            hint = f"did you mean '{mark}{base(pattern).replace(first, near, 1)}'?"
        message = f"'{pattern}' matches nothing: there is no module '{first}'"
        problems.append(Problem(place, message, hint))
    return problems


def freeze_place(spec: Spec, pattern: str) -> Location:
    """Return where `freeze` has a pattern: an entry of a list, or a key."""
    if isinstance(spec.freeze, list):
        return spec.place("freeze", spec.freeze.index(pattern))
    return spec.key_place("freeze", pattern)


def _patterns(spec: Spec) -> list[tuple[str, Location]]:
    """Return every pattern of a spec with its place."""
    patterns = [(pattern, freeze_place(spec, pattern)) for pattern in spec.freeze]
    patterns += [(pattern, spec.key_place("adapt", pattern)) for pattern in spec.adapt]
    for left, right in spec.tie.items():
        patterns += [
            (left, spec.key_place("tie", left)),
            (right, spec.place("tie", left)),
        ]
    lr = spec.train.get("lr")
    if isinstance(lr, dict):
        for pattern in lr:
            if pattern != "default":
                patterns.append((pattern, spec.key_place("train", "lr", pattern)))
    no_decay = spec.train.get("no_decay")
    # The default may match nothing in a small network.
    if isinstance(no_decay, list) and no_decay != TRAIN["no_decay"].default:
        for index, pattern in enumerate(no_decay):
            if isinstance(pattern, str):
                patterns.append((pattern, spec.place("train", "no_decay", index)))
    return patterns
