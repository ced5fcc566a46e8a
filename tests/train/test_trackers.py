"""Loggers of experiment trackers: what they hand on, with stand-ins where the packages are not installed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mplug2.train.logs import RunLog
from registry import LOGGERS, UserError

SETTINGS = {"lr": 1e-4}


class Tracker(ModuleType):
    """A package with the functions of both trackers; it keeps the calls."""

    Error = RuntimeError

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.calls: list[tuple[str, Any]] = []

    def init(self, **settings: Any) -> Tracker:
        self.calls.append(("init", settings))
        return self

    def log(self, values: dict[str, float], step: int) -> None:
        self.calls.append(("log", (step, values)))

    def finish(self) -> None:
        self.calls.append(("finish", None))


@pytest.fixture(params=["trackio", "wandb"])
def tracker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Tracker:
    module = Tracker(request.param)
    monkeypatch.setitem(sys.modules, request.param, module)
    return module


def test_rows_go_to_one_run_that_a_resumed_run_continues(
    tmp_path: Path, tracker: Tracker
) -> None:
    folder = tmp_path / "my_run"
    folder.mkdir()
    for step in (0, 2):
        with RunLog(folder, step, {"loggers": [tracker.__name__], **SETTINGS}) as log:
            log.write(step + 1, loss=2.0, absent=None)
    first, second = (settings for name, settings in tracker.calls if name == "init")
    assert first == second
    assert (
        first["resume"] == "allow"
        and first["config"]["lr"] == 1e-4
        and "my_run" in first["name"]
    )
    assert [value for name, value in tracker.calls if name == "log"] == [
        (1, {"loss": 2.0}),
        (3, {"loss": 2.0}),
    ]
    assert [name for name, _ in tracker.calls].count("finish") == 2


def test_runs_of_other_folders_are_other_runs(tmp_path: Path, tracker: Tracker) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "run").mkdir(parents=True)
        LOGGERS.load(tracker.__name__)(tmp_path / name / "run", 0, SETTINGS).close()
    first, second = (settings for name, settings in tracker.calls if name == "init")
    assert first != second


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_a_package_that_is_not_installed_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)  # its import fails
    with pytest.raises(
        UserError,
        match=rf"train.loggers: {name} needs .* Run `pip install mplug2\[{name}\]`",
    ):
        LOGGERS.load(name)(tmp_path, 0, SETTINGS)


def test_a_login_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**settings: Any) -> None:
        raise RuntimeError("no key")

    module = Tracker("wandb")
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setattr(module, "init", fail)
    with pytest.raises(
        UserError, match=r"wandb cannot start \(no key\). Run `wandb login`"
    ):
        LOGGERS.load("wandb")(tmp_path, 0, SETTINGS)


def test_wandb_writes_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("wandb") is None:
        pytest.skip("wandb is an extra")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with RunLog(tmp_path, 0, {"loggers": ["wandb"], **SETTINGS}) as log:
        log.write(1, loss=2.0)
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert b"loss" in file.read_bytes()
