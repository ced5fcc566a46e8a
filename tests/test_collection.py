"""Every test file is collected: pytest leaves out folders whose names match `norecursedirs`."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def test_every_test_file_is_collected(pytestconfig: pytest.Config) -> None:
    patterns = pytestconfig.getini("norecursedirs")
    folders = {
        folder
        for file in TESTS.rglob("test_*.py")
        for folder in file.relative_to(TESTS).parents
    }
    left_out = []
    for folder in sorted(folders):
        if any(folder.match(pattern) for pattern in patterns if folder.name):
            left_out.append(str(folder))
    assert "build" in {folder.name for folder in folders}
    assert left_out == []
