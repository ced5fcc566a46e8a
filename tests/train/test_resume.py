"""Where a resumed run goes on: with more or fewer data than before, and after what a stop left undone."""

from __future__ import annotations

from pathlib import Path

import pytest
from train_fakes import FakeLoader, Interrupting, run

from mplug2.train.checkpoint import steps_written
from mplug2.train.logs import read_log


def epochs(folder: Path) -> list[int]:
    """The epoch of every step."""
    return [row["epoch"] for row in read_log(folder / "log.jsonl") if "loss" in row]


@pytest.mark.parametrize(("before", "after"), [(5, 3), (3, 5)], ids=["fewer", "more"])
def test_after_a_whole_epoch_the_next_ones_may_be_of_another_length(
    tmp_path: Path, before: int, after: int, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, FakeLoader(before), epochs=1)
    result = run(tmp_path, FakeLoader(after), resume=True, epochs=3)
    assert result.steps == before + 2 * after
    assert epochs(tmp_path) == [0] * before + [1] * after + [2] * after
    assert steps_written(tmp_path / "checkpoints")[-1] == result.steps
    assert f"an epoch has {after} batches, and had {before}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("after", "expected"),
    [(8, [0] * 8 + [1] * 8), (4, [0] * 4 + [1] * 4), (2, [0] * 3 + [1] * 2)],
    ids=["more", "fewer", "fewer than are done"],
)
def test_an_epoch_under_way_goes_on_at_its_batch(
    tmp_path: Path, after: int, expected: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, Interrupting(5)).steps == 3
    result = run(tmp_path, FakeLoader(after), resume=True)
    assert result.steps == len(expected)
    assert epochs(tmp_path) == expected
    assert "some of its samples come twice, some not at all" in capsys.readouterr().out


def test_the_length_that_is_now_is_the_one_of_the_next_resumption(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, FakeLoader(5), epochs=1)
    run(tmp_path, FakeLoader(3), resume=True, epochs=2)
    capsys.readouterr()
    assert run(tmp_path, FakeLoader(3), resume=True, epochs=3).steps == 11
    assert "an epoch has" not in capsys.readouterr().out
