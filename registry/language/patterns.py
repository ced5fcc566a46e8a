"""Patterns of parameters and modules: the one grammar of `freeze`, `lr`, `no_decay` and `init`.

A pattern is a prefix of complete words (``vision.stem``) or has the wildcards ``*``, ``?`` and ``[...]``; a
wildcard also matches a prefix. A leading ``!`` means everything but. The most specific pattern wins: the one
with the most characters that are not wildcards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from registry.name_table import closest_name

NEGATION = "!"
WILDCARD = re.compile(r"\*|\?|\[!?[^\]]+\]")


def base(pattern: str) -> str:
    """Return a pattern without its ``!``."""
    return pattern.removeprefix(NEGATION)


def is_negated(pattern: str) -> bool:
    """Return whether a pattern means everything but what follows its ``!``."""
    return pattern.startswith(NEGATION)


def matches(pattern: str, name: str) -> bool:
    """Return whether a pattern matches a dotted name, such as that of a parameter."""
    if is_negated(pattern):
        return not matches(base(pattern), name)
    # A module means all its parameters; `vision` does not mean `vision_proj`.
    if name == pattern or name.startswith(pattern + "."):
        return True
    # Not `fnmatch`, which ignores case on some systems.
    return fnmatchcase(name, pattern) or fnmatchcase(name, pattern + ".*")


def most_specific(patterns: Iterable[str], name: str) -> str | None:
    """Return the pattern of a mapping that decides about a name, or None if no pattern matches.

    Any pattern comes before one with ``!``. Of two equally specific ones, the later decides.
    """
    best: tuple[tuple[bool, int, bool], str] | None = None
    for pattern in patterns:
        if not matches(pattern, name):
            continue
        rank = _specificity(pattern)
        if best is None or rank >= best[0]:
            best = (rank, pattern)
    return None if best is None else best[1]


def is_selected(patterns: Sequence[str], name: str) -> bool:
    """Return whether a list of patterns contains a name.

    In a list, ``!`` removes what the rest of its pattern matches. A list of only such patterns begins with
    everything.
    """
    # `a` and `!a` in one list: the later replaces the other.
    by_base = {base(pattern): pattern for pattern in patterns}
    deciding = most_specific(by_base, name)
    if deciding is not None:
        return not is_negated(by_base[deciding])
    # `[!vision]` alone means everything but vision.
    return bool(patterns) and all(is_negated(pattern) for pattern in patterns)


def select(patterns: Sequence[str], names: Iterable[str]) -> set[str]:
    """Return the names that a list of patterns contains."""
    return {name for name in names if is_selected(patterns, name)}


def unmatched(patterns: Iterable[str], names: Sequence[str]) -> list[str]:
    """Return the patterns that match no name (the rest of a pattern with ``!``)."""
    without_match = []
    for pattern in patterns:
        plain = base(pattern)
        if not any(matches(plain, name) for name in names):
            without_match.append(pattern)
    return without_match


def may_match(pattern: str, modules: Iterable[str]) -> bool:
    """Return whether a pattern can match a parameter of one of the modules.

    The parameters are not known: this compares the first word, up to a wildcard, with the modules' names.
    """
    text = base(pattern)
    # Up to a dot or a wildcard: `vis*` can match every module that begins so.
    first = re.match(r"[^.*?\[]*", text)
    begin = first.group() if first else ""
    if len(begin) < len(text) and text[len(begin)] != ".":
        return any(name.startswith(begin) for name in modules)
    return begin in modules


def suggestion(pattern: str, names: Iterable[str]) -> str:
    """Return a hint for a pattern that matches no name: the nearest prefix, or what its module contains."""
    names = list(names)
    prefixes: dict[str, None] = {}
    for name in names:
        words = name.split(".")
        for length in range(1, len(words) + 1):
            prefixes[".".join(words[:length])] = None
    mark = NEGATION if is_negated(pattern) else ""
    near = closest_name(base(pattern), prefixes)
    if near is not None:
        return f"did you mean '{mark}{near}'?"
    # One level below the module: a list of all parameters would be too long to read.
    module = base(pattern).split(".")[0]
    listed = []
    for prefix in prefixes:
        if prefix.startswith(f"{module}.") and prefix.count(".") == 1:
            listed.append(prefix)
    return f"in '{module}' there are {', '.join(listed)}" if listed else ""


def _specificity(pattern: str) -> tuple[bool, int, bool]:
    """Return a key that orders patterns from the least specific to the most specific."""
    # The letters that a name must have; without any wildcard a pattern is exact.
    plain = WILDCARD.sub("", base(pattern))
    return (not is_negated(pattern), len(plain), plain == pattern)
