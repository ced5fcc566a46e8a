"""Where first weights come from: the entries of `init`, judged without opening what they name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from registry.errors import Problem
from registry.language.patterns import base, matches, most_specific
from registry.language.spec import Spec
from registry.registries import REGISTRIES, Registries, closest_name

NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
FILE = (".pt", ".pth", ".bin", ".safetensors")


def owners(patterns: Iterable[str], modules: Iterable[str]) -> dict[str, str]:
    """Return the pattern of `init` that gives each module its weights: the most specific one that matches."""
    patterns = list(patterns)
    owned = {}
    for name in modules:
        pattern = most_specific(patterns, name)
        if pattern is not None:
            owned[name] = pattern
    return owned


def split_source(source: str) -> tuple[str, str, str | None]:
    """Return the family, the path and the name of the module in ``FAMILY:PATH#NAME``; None without a name."""
    family, _, path = source.partition(":")
    before, mark, name = path.rpartition("#")
    # A path may have the sign itself.
    if not mark or os.path.exists(path):
        return family, path, None
    return family, before, name


def source_form(family: str, names: Registries = REGISTRIES) -> str:
    """Return what follows the colon of a source, such as ``FILE`` or ``NAME_OR_FOLDER``."""
    return str(names.key_maps.load(family).source)


def is_name(family: str, source: str, names: Registries = REGISTRIES) -> bool:
    """Return whether a source is to be downloaded by its name, since it does not look like a path."""
    # `org/name` may be a name or a path: it is a path where its folder exists here.
    in_folder = os.path.isdir(os.path.dirname(source))
    if os.path.exists(source) or source.endswith(FILE) or in_folder:
        return False
    takes_name = source_form(family, names).startswith("NAME")
    return takes_name and bool(NAME.fullmatch(source))


def check_init(spec: Spec, names: Registries = REGISTRIES) -> list[Problem]:
    """Return the sources of `init` that do not exist, and the patterns that give no module its weights."""
    problems = []
    owned = set(owners(spec.init, spec.modules).values())
    for pattern, source in spec.init.items():
        family, path, module = split_source(source)
        place = spec.place("init", pattern)
        if family not in names.key_maps or not path:
            problems.append(Problem(place, *_unknown_source(source, names)))
        elif module is not None and not (
            names.key_maps.load(family).by_module and module
        ):
            message = f"'{family}:' cannot take one module by name (got '#{module}')"
            hint = f"write `{family}:{path}`"
            if names.key_maps.load(family).by_module:
                message, hint = (
                    "a name of a module must follow '#' (got none)",
                    f"`{source}NAME`",
                )
            problems.append(Problem(place, message, hint))
        key = spec.key_place("init", pattern)
        if not any(matches(base(pattern), name) for name in spec.modules):
            near = closest_name(base(pattern).split(".")[0], spec.modules)
            message = f"init pattern '{pattern}' must match a module, but matches none"
            hint = f"modules: {', '.join(spec.modules) or 'none'}"
            if near is not None:
                hint = f"did you mean '{near}'?"
            problems.append(Problem(key, message, hint))
        # A pattern without effect is a mistake, not a spare one.
        elif pattern not in owned:
            message = f"init pattern '{pattern}' gives no module its weights: more exact patterns take them all"
            problems.append(Problem(key, message, "remove it"))
    return problems


def missing_files(spec: Spec, names: Registries = REGISTRIES) -> list[Problem]:
    """Return the sources of `init` that name a file or folder which does not exist."""
    problems = []
    for pattern, source in spec.init.items():
        family, path, _ = split_source(source)
        if family not in names.key_maps or not path:
            continue  # `check_init` reports the form.
        if os.path.exists(path) or is_name(family, path, names):
            continue
        message = f"init must name what exists, but there is no '{path}'"
        hint = _path_hint(family, path, source_form(family, names))
        problems.append(Problem(spec.place("init", pattern), message, hint))
    return problems


def _unknown_source(source: str, names: Registries) -> tuple[str, str]:
    """Return the message and the hint for an entry that is not FAMILY:SOURCE."""
    family, _, path = source.partition(":")
    forms = {name: source_form(name, names) for name in names.key_maps.names()}
    listed = ", ".join(f"'{name}:{form}'" for name, form in forms.items())
    suggestion = closest_name(family, forms)
    hint = ""
    if suggestion:
        hint = f"did you mean '{suggestion}:{path or forms[suggestion]}'?"
    return f"init source must be one of {listed}, but is '{source}'", hint


def _path_hint(family: str, path: str, form: str) -> str:
    """Return the neighbor of nearly that name; else what the source can be instead."""
    folder = os.path.dirname(path) or "."
    near = None
    if os.access(folder, os.R_OK):
        near = closest_name(os.path.basename(path), os.listdir(folder))
    if near:
        return f"did you mean '{family}:{os.path.join(os.path.dirname(path), near)}'?"
    if not os.path.isdir(folder):
        return f"there is no folder '{folder}' here: paths begin in the folder where the command runs"
    return f"'{family}:' takes {form.lower().replace('_', ' ')}; paths begin where the command runs"
