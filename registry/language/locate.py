"""The source of a definition by its name, found and parsed without importing anything."""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from registry.errors import UserError

FARTHEST = 8  # re-exports and base classes that are followed
# What comes from there declares nothing: not worth parsing.
FOREIGN = sys.stdlib_module_names | {"torch"}


@dataclass(frozen=True)
class Definition:
    """A class or function in its file; `bases` holds the bodies of a class, first, and of its bases.

    `modules` are the modules that were looked up for it, with their files (None: there is no such module).
    """

    node: ast.ClassDef | ast.FunctionDef
    file: str
    bases: tuple[list[ast.stmt], ...] = ()
    modules: Mapping[str, str | None] = field(default_factory=dict)


def definition(target: str) -> Definition:
    """Return the definition of `"package.module:Name"`, following re-exports; raise `UserError`."""
    module, colon, name = target.partition(":")
    words = [*module.split("."), name]
    # Before any file is looked for: the name of a file with a path in it is refused here.
    if not colon or not all(word.isidentifier() for word in words):
        raise UserError(f"a target must read 'package.module:Name', but is '{target}'")
    modules: dict[str, str | None] = {}
    located = _find(module, name, FARTHEST, modules)
    if located is None:
        file = source_file(module)
        problem = f"there is no module '{module}'"
        if file:
            problem = f"{file} defines no '{name}'"
        raise UserError(f"{target}: {problem}")
    return replace(located, modules=modules)


def source_file(module: str) -> str | None:
    """Return the source file of a dotted module name, or None; neither it nor its packages are imported."""
    top, *rest = module.split(".")
    try:
        # Of the top package only: `find_spec` of a submodule would import its packages.
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest:
        return spec.origin if spec.origin and spec.origin.endswith(".py") else None
    for folder in spec.submodule_search_locations or ():
        path = os.path.join(folder, *rest)
        for file in (f"{path}.py", os.path.join(path, "__init__.py")):
            if os.path.isfile(file):
                return file
    return None


def _find(
    module: str, name: str, steps: int, modules: dict[str, str | None]
) -> Definition | None:
    file = modules[module] = source_file(module)
    # A chain of re-exports may be a cycle.
    if file is None or steps == 0:
        return None
    # The time is part of the key of the cache: an edited file is parsed again.
    names = _names(file, os.stat(file).st_mtime_ns)
    node = names.get(name)
    if isinstance(node, ast.ImportFrom):
        if not node.level and (node.module or "").partition(".")[0] in FOREIGN:
            return None
        names_there = {alias.asname or alias.name: alias.name for alias in node.names}
        origin = _absolute(node, module, file)
        return _find(origin, names_there[name], steps - 1, modules)
    if isinstance(node, ast.ClassDef):
        bodies = [node.body]
        for base in node.bases:
            # `Reader[Item]` is the class `Reader`.
            plain = base.value if isinstance(base, ast.Subscript) else base
            # A base such as `nn.Module` is an attribute: of another package, which declares nothing.
            if not isinstance(plain, ast.Name):
                continue
            above = _find(module, plain.id, steps - 1, modules)
            # A class that names itself as its base is a mistake of that file, not an endless search.
            if above is not None and above.node is not node:
                bodies = _with_base(bodies, above)
        return Definition(node, file, tuple(bodies))
    return Definition(node, file) if node is not None else None


def _with_base(bodies: list[list[ast.stmt]], base: Definition) -> list[list[ast.stmt]]:
    """Return the bodies of a class followed by those of one more base."""
    # A base of two bases comes after both, as when Python looks for a method.
    earlier = []
    for body in bodies:
        if all(body is not other for other in base.bases):
            earlier.append(body)
    # A base that is a function has no bodies.
    return [*earlier, *base.bases]


@lru_cache(maxsize=256)
def _names(
    file: str, _changed: int
) -> dict[str, ast.ClassDef | ast.FunctionDef | ast.ImportFrom]:
    """Return the classes, functions and from-imports at the top of a file, parsed once until it changes."""
    with open(file, encoding="utf-8") as stream:
        source = stream.read()
    try:
        tree = ast.parse(source, file)
    except SyntaxError as error:
        raise UserError(f"{file}:{error.lineno}: {error.msg}") from None
    definitions: dict[str, ast.ClassDef | ast.FunctionDef | ast.ImportFrom] = {}
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef):
            definitions[statement.name] = statement
        elif isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                definitions[alias.asname or alias.name] = statement
    return definitions


def _absolute(statement: ast.ImportFrom, module: str, file: str) -> str:
    """Return the dotted name of the module that a from-import reads, relative or not."""
    if not statement.level:
        return statement.module or ""
    parts = module.split(".")
    # The package of a module is its folder, that of a package is itself.
    if os.path.basename(file) != "__init__.py":
        parts = parts[:-1]
    # One dot is the package itself, each further one the package around it.
    parts = parts[: len(parts) - statement.level + 1]
    if statement.module:
        parts.append(statement.module)
    return ".".join(parts)
