"""Where first weights come from: the entries of `init`, judged without opening what they name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from registry.errors import Problem
from registry.language.spec import Spec
from registry.registries import nearest

ORIGINS = {
    "mplug2": "FILE",
    "mplug": "FILE",
    "own": "CHECKPOINT",
    "clip": "NAME_OR_FILE",
    "bert": "NAME_OR_FOLDER",
}
NAMED = ("clip", "bert")  # these may be the name of something to download, instead of a path
NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
FILE = (".pt", ".pth", ".bin", ".safetensors")


def owners(patterns: Iterable[str], modules: Iterable[str]) -> dict[str, str]:
    """Return the pattern of `init` that gives each module its weights: the most exact one that matches.

    A name comes before a wildcard, a longer wildcard before a shorter one, of two equal ones the later.
    """
    ordered = sorted(patterns, key=lambda one: (not _wild(one), len(one)))
    return {name: one for name in modules for one in ordered if fnmatchcase(name, one)}


def is_name(kind: str, what: str) -> bool:
    """Return whether what a source names is to be fetched by its name, since it looks like no path."""
    path = os.path.exists(what) or what.endswith(FILE) or os.path.isdir(os.path.dirname(what))
    return kind in NAMED and not path and bool(NAME.fullmatch(what))


def check_init(spec: Spec) -> list[Problem]:
    """Return every source of `init` that is none, and every pattern that gives no module its weights."""
    problems = []
    owned = set(owners(spec.init, spec.modules).values())
    for pattern, source in spec.init.items():
        kind, _, what = source.partition(":")
        if kind not in ORIGINS or not what:
            known = ", ".join(f"'{name}:{form}'" for name, form in ORIGINS.items())
            near = nearest(kind, ORIGINS)
            hint = f"did you mean '{near}:{what or ORIGINS[near]}'?" if near else ""
            message = f"init source must be one of {known}, but is '{source}'"
            problems.append(Problem(spec.place("init", pattern), message, hint))
        key, listed = spec.key_place("init", pattern), f"modules: {', '.join(spec.modules) or 'none'}"
        if not any(fnmatchcase(name, pattern) for name in spec.modules):
            near = nearest(pattern.split(".")[0], spec.modules)
            message = f"init pattern '{pattern}' must match a module, but matches none"
            problems.append(Problem(key, message, f"did you mean '{near}'?" if near else listed))
        elif pattern not in owned:
            message = (
                f"init pattern '{pattern}' gives no module its weights: more exact patterns take them all"
            )
            problems.append(Problem(key, message, "remove it"))
    return problems


def missing_files(spec: Spec) -> list[Problem]:
    """Return every source of `init` that names a file or folder which is not there."""
    problems = []
    for pattern, source in spec.init.items():
        kind, _, what = source.partition(":")
        if kind in ORIGINS and what and not os.path.exists(what) and not is_name(kind, what):
            message = f"init must name what exists, but there is no '{what}'"
            problems.append(Problem(spec.place("init", pattern), message, _hint(kind, what)))
    return problems


def _hint(kind: str, what: str) -> str:
    """Return the neighbour of nearly that name; else what the source can be instead."""
    folder = os.path.dirname(what) or "."
    near = nearest(os.path.basename(what), os.listdir(folder)) if os.access(folder, os.R_OK) else None
    if near:
        return f"did you mean '{kind}:{os.path.join(os.path.dirname(what), near)}'?"
    if not os.path.isdir(folder):
        return f"there is no folder '{folder}' here: paths begin in the folder where the command runs"
    return f"'{kind}:' takes {ORIGINS[kind].lower().replace('_', ' ')}; paths begin where the command runs"


def _wild(pattern: str) -> bool:
    return any(letter in pattern for letter in "*?[")
