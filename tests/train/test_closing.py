"""The last lines of a run: which checkpoint is the best, and what is said if there is none."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from mplug2.cli.outputs import print_checkpoint
from mplug2.train.messages import closing
from mplug2.train.run_state import Result, RunState
from mplug2.weights.store import weights_file
from registry import UserError


def lines(metrics: dict[str, float], best: Path | None = None) -> list[str]:
    """Return the last lines of a run of ten steps with these values at its last evaluation."""
    result = Result(Path("run"), 10, Path("run/last"), best, metrics, interrupted=False)
    state = RunState(step=10, metrics=metrics, best=0.5 if best else None)
    return closing(result, state, 10, 1.0, "accuracy")


def test_a_value_that_was_never_a_number_is_reported() -> None:
    said = lines({"accuracy": math.nan, "other": 0.5})
    assert (
        "accuracy was NaN in every evaluation, so there is no best checkpoint: use `last`"
        in said
    )
    assert "mplug2 eval run/last/spec.yaml --checkpoint run/last" in said[-1]


def test_a_best_checkpoint_that_does_not_exist_points_to_the_last(
    tmp_path: Path,
) -> None:
    with pytest.raises(
        UserError, match=r"best must be a checkpoint .* but does not exist$"
    ):
        weights_file(tmp_path / "best")
    (tmp_path / "last").mkdir()
    with pytest.raises(
        UserError,
        match=r"best must be a checkpoint .* but does not exist\. Use .*/last$",
    ):
        weights_file(tmp_path / "best")
    with pytest.raises(UserError, match="last must be a checkpoint .* but is neither$"):
        weights_file(tmp_path / "last")


def test_the_checkpoint_that_a_link_means_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "step_5").mkdir()
    (tmp_path / "best").symlink_to("step_5")
    for name in ("best", "step_5", "none"):
        print_checkpoint(tmp_path / name)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert (
        printed.err
        == f"checkpoint: {tmp_path}/best (step_5)\ncheckpoint: {tmp_path}/step_5\n"
    )


def test_a_run_with_a_best_checkpoint_names_it() -> None:
    said = lines({"accuracy": math.nan}, Path("run/checkpoints/step_5"))
    assert "best accuracy on validation: 0.5000, run/checkpoints/step_5" in said
    assert not any("NaN" in line for line in said)


def test_a_run_without_evaluations_says_nothing_of_them() -> None:
    assert not any("NaN" in line for line in lines({}))
