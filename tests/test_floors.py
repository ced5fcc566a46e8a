"""The arrows point down: registry <- modules <- mplug2 <- tools, scripts; registry needs no tensors."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("registry", "modules", "mplug2", "tools", "scripts")
REGISTRY_MAY = {*sys.stdlib_module_names, "ruamel", "registry"}


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """Yield the top-level package of every import of a file, inside functions too, with its line."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").split(".")[0], node.lineno


def files(floor: str) -> list[Path]:
    return sorted((ROOT / floor).rglob("*.py"))


@pytest.mark.parametrize("floor", FLOORS[:3])  # tools and scripts stand side by side, on top
def test_no_floor_imports_one_above(floor: str) -> None:
    above = set(FLOORS[FLOORS.index(floor) + 1 :])
    assert files(floor)
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for file in files(floor)
        for name, line in imports(file)
        if name in above
    ]
    assert not wrong


def test_registry_is_standard_library_and_yaml() -> None:
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for file in files("registry")
        for name, line in imports(file)
        if name not in REGISTRY_MAY
    ]
    assert files("registry")
    assert not wrong


@pytest.mark.parametrize("floor", ["modules", "mplug2"])
def test_the_front_doors_are_light(floor: str) -> None:
    """`import modules` and `import mplug2` run these files: what they import at once must be light."""
    tree = ast.parse((ROOT / floor / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.names[0].name if isinstance(node, ast.Import) else node.module or ""
            assert module.split(".")[0] in {*REGISTRY_MAY, "modules", "mplug2"}
