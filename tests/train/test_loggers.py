"""The record of a run: every logger gets every row, and one that fails loses nothing and stops nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import mplug2  # noqa: F401  (fills the registries)
from mplug2.train import logs
from mplug2.train.loggers import JsonlLogger
from mplug2.train.logs import RunLog, read_log
from registry import LOGGERS, Registry, UserError, check, parse_spec

SETTINGS = {"loggers": ["jsonl", "flaky"]}


class Flaky:
    """Fails at the steps in ``fails``, and keeps what it was given."""

    fails: set[int] = set()
    rows: list[tuple[int, Mapping[str, float]]] = []
    closed = 0

    def __init__(self, folder: Path, step: int, settings: Mapping[str, Any]) -> None:
        self.start = step

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if step in self.fails:
            raise ConnectionError("no route to host")
        self.rows.append((step, values))

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> type[Flaky]:
    """The logger registered under its name, in registries of its own."""
    loggers = Registry("logger", requires=LOGGERS.requires)
    loggers.register("jsonl", "mplug2.train.loggers:JsonlLogger")
    loggers.register("flaky")(Flaky)
    monkeypatch.setattr(logs, "LOGGERS", loggers)
    monkeypatch.setattr(Flaky, "fails", set())
    monkeypatch.setattr(Flaky, "rows", [])
    monkeypatch.setattr(Flaky, "closed", 0)
    return Flaky


@pytest.mark.usefixtures("curves")
def test_all_loggers_get_all_rows_without_what_is_absent(
    tmp_path: Path, flaky: type[Flaky]
) -> None:
    with RunLog(tmp_path, 0, SETTINGS) as log:
        log.write(1, loss=2.0, skipped=None)
        log.write(2, loss=1.0)
    assert flaky.rows == [(1, {"loss": 2.0}), (2, {"loss": 1.0})]
    assert read_log(tmp_path / "log.jsonl") == [
        {"step": 1, "loss": 2.0},
        {"step": 2, "loss": 1.0},
    ]
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert flaky.closed == 1


def test_a_logger_that_fails_for_a_while_gets_its_rows_later_and_warns_once(
    tmp_path: Path, flaky: type[Flaky], caplog: pytest.LogCaptureFixture
) -> None:
    flaky.fails = {2, 3}
    with RunLog(tmp_path, 0, SETTINGS) as log:
        for step in (1, 2, 3):
            log.write(step, loss=float(step))
        flaky.fails = set()
        log.write(4, loss=4.0)
    assert [step for step, _ in flaky.rows] == [1, 2, 3, 4]
    assert [row["step"] for row in read_log(tmp_path / "log.jsonl")] == [1, 2, 3, 4]
    (warning,) = caplog.messages
    assert (
        "logger 'flaky' failed at step 2 (ConnectionError: no route to host)" in warning
    )
    assert not list(tmp_path.glob("unlogged*"))


def test_rows_that_a_logger_never_took_are_in_a_file(
    tmp_path: Path, flaky: type[Flaky], caplog: pytest.LogCaptureFixture
) -> None:
    flaky.fails = {2, 3}
    with RunLog(tmp_path, 0, SETTINGS) as log:
        for step in (1, 2, 3):
            log.write(step, loss=float(step))
    rows = [
        json.loads(line)
        for line in (tmp_path / "unlogged_flaky.jsonl").read_text().splitlines()
    ]
    assert rows == [{"step": 2, "loss": 2.0}, {"step": 3, "loss": 3.0}]
    assert "did not take 2 rows" in caplog.messages[-1]
    assert flaky.closed == 1


@pytest.mark.usefixtures("curves")
def test_an_error_of_the_run_closes_all_loggers(
    tmp_path: Path, flaky: type[Flaky]
) -> None:
    log = RunLog(tmp_path, 0, SETTINGS)
    log.write(1, loss=1.0)
    with pytest.raises(RuntimeError, match="diverged"), log:
        raise RuntimeError("diverged")
    assert flaky.closed == 1
    assert (tmp_path / "curves.png").is_file()


def test_other_ranks_open_nothing(tmp_path: Path, flaky: type[Flaky]) -> None:
    with RunLog(tmp_path, 0, SETTINGS, silent=True) as log:
        log.write(1, loss=1.0)
    assert not flaky.rows
    assert not list(tmp_path.iterdir())


def test_a_resumed_log_drops_what_comes_again(tmp_path: Path) -> None:
    first = JsonlLogger(tmp_path, 0, {})
    for step in (1, 2, 3):
        first.log(step, {"loss": 1.0})
    first.close()
    second = JsonlLogger(tmp_path, 2, {})
    second.log(3, {"loss": 0.5})
    second.close()
    assert [row["loss"] for row in read_log(tmp_path / "log.jsonl")] == [1.0, 1.0, 0.5]


class _FullDisk:
    """A file that takes half of a row and then nothing."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, row: bytes) -> int:
        return int(self.file.write(row[: len(row) // 2]))


def test_a_row_that_was_written_in_part_is_removed(tmp_path: Path) -> None:
    logger = JsonlLogger(tmp_path, 0, {})
    logger.log(1, {"loss": 1.0})
    file = logger._file
    logger._file = _FullDisk(file)  # type: ignore[assignment]
    with pytest.raises(OSError, match="only a part"):
        logger.log(2, {"loss": 2.0})
    logger._file = file
    logger.log(2, {"loss": 2.0})
    logger.close()
    assert [row["step"] for row in read_log(tmp_path / "log.jsonl")] == [1, 2]


@pytest.mark.parametrize("name", ["jsonl", "tensorboard"])
def test_the_contract_of_registered_loggers(name: str, tmp_path: Path) -> None:
    """What a run does with a logger: open, log, close; then the same again, to continue earlier."""
    for start in (0, 2):
        logger = LOGGERS.load(name)(tmp_path, start, {"loggers": [name]})
        for step in range(start + 1, 5):
            logger.log(
                step,
                {"loss": 1 / step, "lr/default": 1e-4, "val/accuracy": float("nan")},
            )
        logger.close()
    assert any(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())


def test_every_registered_logger_has_its_contract_test() -> None:
    # The contract tests of trackio and wandb are in test_trackers.py.
    assert LOGGERS.names() == ["jsonl", "tensorboard", "trackio", "wandb"]


def test_check_names_a_misspelt_logger() -> None:
    text = "\n".join(str(problem) for problem in check(_spec("[json]")).problems)
    assert "unknown logger 'json'" in text
    assert "did you mean 'jsonl'?" in text
    assert "unknown logger" not in "\n".join(
        str(problem) for problem in check(_spec("[jsonl]")).problems
    )


def _spec(loggers: str) -> Any:
    return parse_spec(
        f"goals: {{a: {{x: x}}}}\ntrain: {{loggers: {loggers}}}", "x.yaml"
    )


def test_a_logger_that_lacks_a_method_is_refused_at_registration() -> None:
    loggers = Registry("logger", requires=LOGGERS.requires)
    with pytest.raises(UserError, match="must have log, close, but lacks close"):
        loggers.register("half")(type("Half", (), {"log": None}))
