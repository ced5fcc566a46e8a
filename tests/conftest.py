"""Fixtures that every floor's tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# The shapes in the signatures of floor 2 are checked while tests run, and only then.
install_import_hook("modules", "beartype.beartype")

pytest_plugins = ["cpu_time"]

SHARED = Path(
    os.environ.get("MPLUG2_SHARED") or Path(__file__).resolve().parents[2] / "shared"
)


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of its own for the test run, of its processes, too: the user's is neither read nor written."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def without_curves(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leave out the plot at the end of a run, most of a tiny one's CPU time; the fixture `curves` keeps it."""
    # Absent where no test has imported it, which takes seconds.
    loggers = sys.modules.get("mplug2.train.loggers")
    if loggers is not None and "curves" not in request.fixturenames:
        monkeypatch.setattr(loggers, "draw_curves", lambda log, picture: None)


@pytest.fixture
def curves() -> None:
    """Plot the curves of a run in this test."""


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recorded facts and real videos beside the project; tests that need it skip where it is
    absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no shared data folder at {SHARED} (set MPLUG2_SHARED)")
    return SHARED
