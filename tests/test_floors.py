"""Imports point down: registry <- modules <- mplug2 <- tools, scripts; inside mplug2, too."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("registry", "modules", "mplug2", "tools", "scripts")
REGISTRY_MAY = {*sys.stdlib_module_names, "ruamel", "registry"}
# The packages and files of mplug2, lowest first: each may import only itself and those before it.
PACKAGES = (
    *(
        "runtime",
        "freezing",
        "averaging",
        "batch_inputs",
        "loss_counts",
        "observing",
        "shipped_specs",
        "network",
        "weights",
        "build",
        "metrics",
        "data",
        "checking",
        "objectives",
    ),
    *("eval", "train", "predict", "index", "bench", "cli"),
)


def files(floor: str) -> list[Path]:
    return sorted((ROOT / floor).rglob("*.py"))


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(
        ".__init__"
    )


@cache
def imports(file: Path, *, types: bool = True) -> list[tuple[str, int]]:
    """Return every module that a file imports, inside functions too, with the line.

    `from a import b` gives `a` and `a.b`, since b may be a module. Without ``types``, imports that only type
    checkers see are left out.
    """
    return list(_imports(file, types))


def _imports(file: Path, types: bool) -> Iterator[tuple[str, int]]:
    """Yield what `imports` returns."""
    todo: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"), str(file))]
    while todo:
        node = todo.pop()
        if (
            isinstance(node, ast.If)
            and isinstance(node.test, ast.Name)
            and node.test.id == "TYPE_CHECKING"
            and not types
        ):
            continue
        todo.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module, node.lineno
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def package_of(module: str) -> str | None:
    """Return the package (or top-level file) of mplug2 that a module belongs to, or None."""
    parts = module.split(".")
    return (
        parts[1]
        if parts[0] == "mplug2" and len(parts) > 1 and parts[1] in PACKAGES
        else None
    )


@pytest.mark.parametrize(
    "floor", FLOORS[:3]
)  # tools and scripts are side by side, on top
def test_no_floor_imports_from_above(floor: str) -> None:
    above = set(FLOORS[FLOORS.index(floor) + 1 :])
    assert files(floor)
    wrong = []
    for file in files(floor):
        for name, line in imports(file):
            if name.split(".")[0] in above:
                wrong.append(f"{file.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong


def test_no_package_of_mplug2_imports_from_above() -> None:
    assert {
        path.stem for path in (ROOT / "mplug2").glob("[!_]*") if path.name != "py.typed"
    } == {
        *PACKAGES,
        "import_guard",
    }
    wrong = []
    for file in files("mplug2"):
        home = package_of(module_name(file))
        if home is None:
            continue
        for name, line in imports(file):
            target = package_of(name)
            if target is not None and PACKAGES.index(target) > PACKAGES.index(home):
                wrong.append(f"{file.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong


def test_no_imports_in_a_circle() -> None:
    """Late imports inside functions count, too: a circle that they hide is still a circle."""
    modules = {module_name(file): file for floor in FLOORS[:3] for file in files(floor)}
    graph: dict[str, list[str]] = {}
    for name, file in modules.items():
        if file.name == "__init__.py":
            continue  # re-exports only
        graph[name] = [
            target for target, _ in imports(file, types=False) if target in modules
        ]
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, (
            f"imports in a circle: {' -> '.join([*path[path.index(name) :], name])}"
        )
        if name in done:
            return
        for target in graph.get(name, ()):
            visit(target, (*path, name))
        done.add(name)

    for name in graph:
        visit(name, ())


def test_registry_is_standard_library_and_yaml() -> None:
    assert files("registry")
    wrong = []
    for file in files("registry"):
        for name, line in imports(file):
            if name.split(".")[0] not in REGISTRY_MAY:
                wrong.append(f"{file.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong


@pytest.mark.parametrize("floor", ["modules", "mplug2"])
def test_the_front_doors_are_light(floor: str) -> None:
    """`import modules` and `import mplug2` run these files: what they import at once must be light."""
    tree = ast.parse((ROOT / floor / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = (
                node.names[0].name
                if isinstance(node, ast.Import)
                else node.module or ""
            )
            assert module.split(".")[0] in {*REGISTRY_MAY, "modules", "mplug2"}
