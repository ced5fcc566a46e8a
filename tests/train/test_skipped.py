"""Gradients that are no numbers: the step is not taken, counted and told, at every ZeRO stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from quick import mostly_slow
from safetensors.torch import load_file
from train_fakes import FakeLoader, FakeNet, decode, spec

from mplug2.train.logs import read_log
from mplug2.train.run import fit
from mplug2.train.skipped_samples import SKIPPED_SAMPLES
from registry import UserError


class Cracked(FakeNet):
    """Has a finite loss with a gradient of NaN in the forward passes ``at``."""

    def __init__(self, at: range, **settings: Any) -> None:
        super().__init__(spec(**settings))
        self.at, self.calls = at, 0

    def forward(
        self, batch: dict[str, torch.Tensor], goal: str = "train"
    ) -> dict[str, Any]:
        found = super().forward(batch, goal)
        if goal == "train":
            self.calls += 1
            if self.calls in self.at:
                found["loss"] = found["loss"] + torch.sqrt(
                    self.head.bias.float().sum() * 0.0
                )
        return found


RUNS: list[dict[str, Any]] = [
    {},
    {"max_grad_norm": 1.0},
    {"grad_accumulation_steps": 2},
    {"zero": 1},
    {"zero": 3},
    {"zero": 1, "precision": "bf16"},
]


@pytest.mark.parametrize("train", mostly_slow(RUNS, [RUNS[0], RUNS[-1]]), ids=str)
def test_a_gradient_that_is_no_number_takes_no_step(
    tmp_path: Path, train: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    net = Cracked(range(5, 6), out=tmp_path, epochs=1, **train)
    loader = FakeLoader(6, accumulate=train.get("grad_accumulation_steps", 1))
    result = fit(net, loader, decode=decode)
    weights = load_file(result.last / "weights.safetensors")
    assert all(value.isfinite().all() for value in weights.values())
    step = 3 if "grad_accumulation_steps" in train else 5
    rows = {row["step"]: row for row in read_log(tmp_path / "log.jsonl")}
    assert rows[step]["skipped"] == 1
    assert "skipped" not in rows[step - 1] and "grad_norm" in rows[step - 1]
    said = capsys.readouterr().out
    assert (
        f"step {step}: the gradient is not finite, so the weights are unchanged" in said
    )
    assert "1 step was not taken" in said


def test_the_norm_that_is_logged_is_that_before_clipping(tmp_path: Path) -> None:
    for clip in (0.01, 1000.0):
        torch.manual_seed(0)
        settings = spec(tmp_path / str(clip), max_steps=1, max_grad_norm=clip)
        fit(FakeNet(settings), FakeLoader(), decode=decode)
    small, large = (
        read_log(tmp_path / str(clip) / "log.jsonl")[0]["grad_norm"]
        for clip in (0.01, 1000.0)
    )
    assert small == large > 0.01


def test_a_run_whose_gradients_stay_no_numbers_ends(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"3 steps in a row, up to step 4; .*Last checkpoint: none"
    ):
        fit(
            Cracked(range(2, 99), out=tmp_path, max_skipped=3),
            FakeLoader(),
            decode=decode,
        )
    skipped_steps = [row["step"] for row in skipped_samples(tmp_path)]
    assert skipped_steps == [2, 3, 4]


def skipped_samples(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of the file of skipped samples."""
    text = (folder / SKIPPED_SAMPLES).read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_the_samples_of_a_step_that_is_not_taken_are_written(tmp_path: Path) -> None:
    net = Cracked(range(3, 5), out=tmp_path, epochs=1, grad_accumulation_steps=2)
    fit(net, FakeLoader(6, accumulate=2), decode=decode)
    rows = skipped_samples(tmp_path)
    assert [(row["step"], row["batch"], row["rank"]) for row in rows] == [
        (2, "train", 0),
        (2, "train", 0),
    ]
    names = [record["question_id"] for row in rows for record in row["records"]]
    assert names == list(range(8, 16))


class Diverging(FakeNet):
    """Has a loss of NaN from the third step on."""

    def forward(
        self, batch: dict[str, torch.Tensor], goal: str = "train"
    ) -> dict[str, Any]:
        outputs = super().forward(batch, goal)
        if goal == "train" and int(self.seen) >= 3:
            outputs["loss"] = outputs["loss"] * float("nan")
        return outputs


def test_a_loss_that_is_not_finite_names_its_samples(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"is nan at step 3; .*{SKIPPED_SAMPLES}"):
        fit(Diverging(spec(tmp_path)), FakeLoader(), decode=decode)
    assert [row["records"][0]["question_id"] for row in skipped_samples(tmp_path)] == [
        8
    ]
