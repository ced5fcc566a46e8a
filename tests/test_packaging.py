"""What a user installs and imports: the version, no torch, and mplug2's own neighbours."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import mplug2

ROOT = Path(__file__).resolve().parents[1]


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a fresh interpreter in the project's folder."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_one_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", mplug2.__version__)
    assert f"## {mplug2.__version__}" in (ROOT / "CHANGELOG.md").read_text(
        encoding="utf-8"
    )
    assert metadata.version("mplug2") == mplug2.__version__


def test_torch_is_capped_where_it_was_measured() -> None:
    required = {
        re.split(r"[<>=;\[ ]", line)[0]: line
        for line in metadata.requires("mplug2") or ()
    }
    assert "<2.14" in required["torch"]
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "\ntorch==2.13.0\n" in pinned


def test_requirements_are_those_of_setup() -> None:
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    assigned = {
        ast.unparse(node.targets[0]): node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
    }
    comment, *lines = (
        (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    )
    assert comment.startswith("#")
    assert lines == ast.literal_eval(assigned["REQUIRES"])


@pytest.mark.parametrize("module", ["registry", "modules", "mplug2", "mplug2.cli.app"])
def test_import_without_torch(module: str) -> None:
    slow = "torch transformers timm deepspeed numpy matplotlib"
    done = python(
        f"import sys, {module}; print([name for name in '{slow}'.split() if name in sys.modules])"
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_shipped_readers_and_metrics_have_names() -> None:
    from registry import METRICS, TASKS

    assert "question_answer" in TASKS.names()
    assert "accuracy" in METRICS.names()
    assert all(METRICS.declaration(name).doc for name in METRICS.names())


def test_unknown_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'kompose'"):
        _ = mplug2.kompose  # type: ignore[attr-defined]


def test_public_names_are_listed() -> None:
    assert {"compose", "Network", "pipeline", "check", "UserError"} <= set(dir(mplug2))


@pytest.mark.parametrize("name", ["registry", "modules"])
def test_a_foreign_package_that_hides_a_neighbour_is_named(
    tmp_path: Path, name: str
) -> None:
    foreign = tmp_path / name
    foreign.mkdir()
    (foreign / "__init__.py").write_text(
        "raise SystemExit('a foreign package was imported')\n"
    )
    done = python(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.path.append({str(ROOT)!r}); import mplug2"
    )
    assert done.returncode == 1
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith(
        f"ImportError: mplug2 needs its own package '{name}' at {ROOT / name}, but Python finds"
    )
    assert str(foreign) in message
    assert f"PYTHONPATH={ROOT}" in message
    assert "foreign package was imported" not in done.stderr


def test_a_missing_neighbour_is_named(tmp_path: Path) -> None:
    (tmp_path / "mplug2").symlink_to(ROOT / "mplug2")
    others = f"[p for p in sys.path if p != {str(ROOT)!r}][1:]"
    code = f"import sys; sys.path[:] = [{str(tmp_path)!r}, *{others}]; import mplug2"
    done = python(code)
    assert "ImportError: mplug2 needs its package 'registry'" in done.stderr
    assert "sh scripts/setup.sh" in done.stderr


def test_every_folder_of_the_packages_is_installed() -> None:
    """A folder without __init__.py works in a clone, and is missing from a wheel."""
    folders = {
        file.parent
        for top in ("registry", "modules", "mplug2")
        for file in (ROOT / top).rglob("*.py")
    }
    assert [
        str(folder) for folder in folders if not (folder / "__init__.py").is_file()
    ] == []


@pytest.mark.parametrize("package", ["registry", "modules", "mplug2"])
def test_type_checkers_read_the_annotations(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_type_checkers_know_every_public_name() -> None:
    """`__getattr__` finds the names at run time, where a type checker sees nothing of them."""
    tree = ast.parse((ROOT / "mplug2" / "__init__.py").read_text(encoding="utf-8"))
    typed: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for imported in node.body:
                assert isinstance(imported, ast.ImportFrom)
                (alias,) = imported.names
                assert alias.asname == alias.name  # else it is not exported
                typed[alias.name] = f"{imported.module}:{alias.name}"
    assert typed == mplug2._PUBLIC
