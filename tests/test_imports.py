"""Public names and submodules are both importable, in any order, also where they have the same name."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from quick import mostly_slow

import mplug2

ROOT = Path(__file__).resolve().parents[1]
PUBLIC = {name: target.split(":") for name, target in mplug2._PUBLIC.items()}
SHARED = [
    name for name in PUBLIC if importlib.util.find_spec(f"mplug2.{name}")
]  # with a submodule


def run(*lines: str) -> str:
    """Run lines of code in a new interpreter and return what they print."""
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", sorted({*PUBLIC} - {*SHARED}))
def test_a_public_name_is_the_object_of_its_module(name: str) -> None:
    module, attribute = PUBLIC[name]
    assert getattr(mplug2, name) is getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("function_first", mostly_slow([True, False], [False]))
def test_a_shared_name_is_both_function_and_module(
    name: str, function_first: bool
) -> None:
    module, attribute = PUBLIC[name]
    parent, _, last = module.rpartition(".")
    first, second = f"mplug2.{name}", f"import {module} as direct"
    lines = [first, second] if function_first else [second, first]
    output = run(
        "import sys, mplug2",
        *lines,
        f"from {parent} import {last} as other",
        f"assert direct is other is {module} is sys.modules['{module}']",
        f"from mplug2 import {name} as public",
        f"assert public is mplug2.{name} is sys.modules['mplug2.{name}']",
        f"direct.{attribute} = lambda *args, **settings: print(args, settings)",
        "public('spec.yaml', resume=True)",
    )
    assert output == "('spec.yaml',) {'resume': True}\n"


@pytest.mark.slow
def test_every_submodule_can_be_imported_under_another_name() -> None:
    output = run(
        "import pkgutil, sys",
        "import modules, mplug2, registry",
        "for package in (registry, modules, mplug2):",
        "    for item in pkgutil.walk_packages(package.__path__, f'{package.__name__}.'):",
        "        exec(f'import {item.name} as direct')",
        "        assert direct is sys.modules[item.name], item.name",
        "        print(item.name)",
    )
    expected = {module for module, _ in PUBLIC.values()} - {"registry"}
    assert {"mplug2.cli.app", *expected} <= set(output.split())
