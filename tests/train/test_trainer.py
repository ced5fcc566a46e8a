"""The trainer, with a small network: resumed runs equal uninterrupted ones, and what stops a run is said."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from quick import mostly_slow
from safetensors.torch import load_file
from train_fakes import Batch, FakeLoader, Interrupting, repeatable_rows, run

from mplug2.train import trainer
from mplug2.train.engines.deepspeed_zero import load_deepspeed
from mplug2.train.logs import read_log
from mplug2.train.saved_steps import steps_written
from registry import UserError, read_spec


def same_files(one: Path, two: Path) -> None:
    for name in ("weights.safetensors", "momentum.safetensors"):
        first, second = load_file(one / name), load_file(two / name)
        assert first.keys() == second.keys()
        for key in first:
            assert torch.equal(first[key], second[key]), (name, key)


RUNS: list[dict[str, Any]] = [
    {},
    {"zero": 2},
    {"zero": 1, "precision": "bf16"},
    {"zero": 3},
    {"grad_accumulation_steps": 2},
    {"precision": "bf16", "zero": 3},
]


@pytest.mark.parametrize("train", mostly_slow(RUNS, [RUNS[0], RUNS[-1]]), ids=str)
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(
    tmp_path: Path, train: dict[str, Any]
) -> None:
    whole = run(tmp_path / "whole", **train)
    loader = Interrupting(accumulate=train.get("grad_accumulation_steps", 1))
    part = run(tmp_path / "part", loader, **train)
    assert part.interrupted
    assert 0 < part.steps < whole.steps
    state = json.loads((part.last / "state.json").read_text())
    position = state["loaders"]["train"]
    # The signal comes with the third batch: the second step of two batches ends with the fourth.
    done = 4 * (4 if "grad_accumulation_steps" in train else part.steps)
    assert (position["epoch"], position["samples"]) == (0, done)
    rest = run(tmp_path / "part", resume=True, **train)
    assert not rest.interrupted
    assert rest.steps == whole.steps
    assert rest.metrics == whole.metrics
    same_files(whole.last, rest.last)
    assert repeatable_rows(tmp_path / "whole") == repeatable_rows(tmp_path / "part")


def test_evaluating_does_not_change_the_training(tmp_path: Path) -> None:
    same_files(
        run(tmp_path / "a", eval_every=1).last, run(tmp_path / "b", val=False).last
    )


@pytest.mark.usefixtures("curves")
def test_a_run_leaves_everything_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(tmp_path / "run", epochs=5, keep_last=1)
    assert result.best is not None
    best = int(result.best.name.removeprefix("step_"))
    assert set(steps_written(tmp_path / "run/checkpoints")) == {
        best,
        25,
    }  # the newest, and the best whenever that was
    assert (tmp_path / "run/best").resolve() == result.best.resolve()
    assert (tmp_path / "run/last").resolve() == result.last.resolve()
    assert (tmp_path / "run/curves.png").read_bytes()[:4] == b"\x89PNG"
    assert list((tmp_path / "run/tensorboard").iterdir())
    rows = read_log(tmp_path / "run/log.jsonl")
    scores = {row["step"]: row["val/accuracy"] for row in rows if "val/accuracy" in row}
    assert scores.keys() == {5, 10, 15, 20, 25}
    assert best == min(
        step for step, value in scores.items() if value == max(scores.values())
    )
    said = capsys.readouterr().out
    assert "step 25/25" in said
    assert (
        f"next: mplug2 eval {tmp_path / 'run/best/spec.yaml'} --checkpoint {tmp_path / 'run/best'}"
        in said
    )


def test_it_learns(tmp_path: Path) -> None:
    assert (
        run(tmp_path, FakeLoader(20), epochs=12, log_every=50).metrics["accuracy"] > 0.7
    )


def test_without_validation_the_last_checkpoint_stands_and_a_warning_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(tmp_path, val=False)
    assert result.best is None
    assert "WARNING: no validation" in capsys.readouterr().out
    assert not (tmp_path / "best").exists()


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(
        UserError,
        match=r"already holds a run, up to step_00000010. Resume it with --resume",
    ):
        run(tmp_path)


def test_a_checkpoint_that_was_not_finished_is_not_taken(tmp_path: Path) -> None:
    result = run(tmp_path)
    (result.last / "state.json").unlink()
    result.last.rename(result.last.with_suffix(".tmp"))  # as a crash leaves it
    assert run(tmp_path, resume=True).steps == 10
    assert steps_written(tmp_path / "checkpoints") == [5, 10]


def test_other_settings_cannot_be_resumed(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(UserError, match=r"precision was 'fp32', now 'bf16'"):
        run(tmp_path, resume=True, precision="bf16")


def test_the_spec_in_a_checkpoint_knows_its_run_folder(tmp_path: Path) -> None:
    written = read_spec(run(tmp_path, max_steps=2).last / "spec.yaml")
    assert written.train["output_dir"] == str(tmp_path)
    assert written.train["max_steps"] == 2


def test_a_longer_run_goes_on_where_the_shorter_one_ended(tmp_path: Path) -> None:
    run(tmp_path)
    assert run(tmp_path, resume=True, epochs=3, weight_decay=0.5).steps == 15


class Poisoned(FakeLoader):
    """Gives an infinite input in the third batch of the second epoch."""

    def batch(self, index: int) -> Batch:
        batch = super().batch(index)
        if self.epoch == 1 and index == 2:
            batch.inputs["x"][0, 0] = float("inf")
        return batch


@pytest.mark.usefixtures("curves")
def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"must be finite, but is nan at step 8; .*step_00000005"
    ):
        run(tmp_path, Poisoned())
    assert read_log(tmp_path / "log.jsonl")[-1]["step"] == 7
    assert (tmp_path / "curves.png").is_file()


def test_micro_batches_that_are_left_over_are_one_more_step(tmp_path: Path) -> None:
    assert run(tmp_path / "some", grad_accumulation_steps=2).steps == 2 * 3
    assert run(tmp_path / "all", grad_accumulation_steps=6).steps == 2


def test_steps_end_a_run_early_and_are_saved(tmp_path: Path) -> None:
    result = run(tmp_path, max_steps=7)
    assert result.steps == 7
    assert (
        json.loads((result.last / "state.json").read_text())["loaders"]["train"][
            "samples"
        ]
        == 2 * 4
    )


def test_half_precision_is_refused_where_the_machine_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # not left to the machine: some CPUs have the instructions, too
    accelerator = load_deepspeed().accelerator.get_accelerator()
    monkeypatch.setattr(accelerator, "is_fp16_supported", lambda: False)
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        run(tmp_path, precision="fp16")


def test_the_best_metric_can_be_chosen_and_must_exist(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"train.best_metric must be one of accuracy, but is 'bleu'"
    ):
        run(tmp_path, best_metric="bleu")


def test_nan_never_becomes_the_best_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([math.nan, 0.9, math.nan])
    monkeypatch.setattr(trainer, "evaluate_all", lambda *_: {"accuracy": next(values)})
    result = run(tmp_path, epochs=3)
    assert result.best is not None
    assert result.best.name == "step_00000010", "the second of three evaluations"
    assert math.isnan(result.metrics["accuracy"])


def test_a_run_ends_when_evaluations_no_longer_improve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = iter([0.5, 0.4, 0.9, 0.8, 0.9])
    monkeypatch.setattr(trainer, "evaluate_all", lambda *_: {"accuracy": next(values)})
    settings = {
        "epochs": 9,
        "early_stop": 2,
        "save_every": "{steps: 3}",
        "eval_every": "{steps: 5}",
    }
    result = run(tmp_path, **settings)
    assert not result.interrupted
    assert result.steps == 25, "the fifth evaluation"
    assert result.last.name == "step_00000025", "saved, although no checkpoint was due"
    assert result.best is not None
    assert result.best.name == "step_00000015"
    assert (
        "early stop: accuracy was not better in 2 evaluations in a row"
        in capsys.readouterr().out
    )
    resumed = run(tmp_path, resume=True, **settings)
    assert resumed.steps == 25, "a resumed run does not train longer"


def test_without_a_number_there_is_no_best_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trainer, "evaluate_all", lambda *_: {"accuracy": math.nan})
    assert run(tmp_path, epochs=1).best is None
    assert not (tmp_path / "best").exists()
    assert "(best so far)" not in capsys.readouterr().out
