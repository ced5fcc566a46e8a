"""Entry points are read as `importlib.metadata` reads them, without importing it."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from registry.entry_points import EntryPoint, entry_points


@pytest.mark.parametrize(
    "group", ["console_scripts", "pytest11", "mplug2.modules", "no.such.group"]
)
def test_the_installed_packages(group: str) -> None:
    expected = sorted(
        (point.name, point.value)
        for point in importlib.metadata.entry_points(group=group)
    )
    found = sorted((point.name, point.target) for point in entry_points(group))
    assert found == [
        (name, value.partition("[")[0].strip()) for name, value in expected
    ]


def offer(folder: Path, info: str, text: str) -> None:
    (folder / info).mkdir(parents=True)
    (folder / info / "entry_points.txt").write_text(text)


def test_forms_of_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "# comment\n[a.b]\none=m:X\n two  =  m.n:Y [extra]\n\n; other\n[other]\nthree = m:Z\n"
    offer(tmp_path, "Some_Package-1.0.dist-info", lines)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert entry_points("a.b") == [
        EntryPoint("one", "m:X", "some-package"),
        EntryPoint("two", "m.n:Y", "some-package"),
    ]
    assert [point.name for point in entry_points("other")] == ["three"]


def test_the_first_installation_of_a_package_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(tmp_path / "first", "thing-2.0.dist-info", "[a]\nnew = m:X\n")
    offer(tmp_path / "second", "Thing-1.0.egg-info", "[a]\nold = m:X\n")
    paths = [
        tmp_path / "first",
        tmp_path / "second",
        tmp_path / "missing",
        tmp_path / "file.zip",
    ]
    (tmp_path / "file.zip").touch()
    monkeypatch.setattr(sys, "path", [str(path) for path in paths])
    assert [point.name for point in entry_points("a")] == ["new"]
    offer(tmp_path / "first", "later-1.0.dist-info", "[a]\nlater = m:X\n")
    assert [point.name for point in entry_points("a")] == ["later", "new"]


def test_the_slow_module_is_not_imported() -> None:
    code = (
        "import sys, mplug2, registry\n"
        "registry.TASKS.names(), registry.EVALUATORS.names(), registry.MODULES.names()\n"
        "sys.exit('importlib.metadata' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
