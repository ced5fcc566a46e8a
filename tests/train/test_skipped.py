"""Gradients that are no numbers: the step is not taken, counted and told, at every ZeRO stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from train_fakes import FakeLoader, FakeNet, decode, spec

from mplug2.train import trainer
from mplug2.train.logs import read_log
from registry import UserError


class Cracked(FakeNet):
    """Has a finite loss with a gradient of NaN in the forward passes ``at``."""

    def __init__(self, at: range, **settings: Any) -> None:
        super().__init__(spec(**settings))
        self.at, self.calls = at, 0

    def forward(self, batch: dict[str, torch.Tensor], goal: str = "train") -> dict[str, Any]:
        found = super().forward(batch, goal)
        if goal == "train":
            self.calls += 1
            if self.calls in self.at:
                found["loss"] = found["loss"] + torch.sqrt(self.head.bias.float().sum() * 0.0)
        return found


@pytest.mark.parametrize(
    "train",
    [
        {},
        {"max_grad_norm": 1.0},
        {"grad_accumulation_steps": 2},
        {"zero": 1},
        {"zero": 3},
        {"zero": 1, "precision": "bf16"},
    ],
    ids=["zero 0", "clipped", "accumulated", "zero 1", "zero 3", "bf16"],
)
def test_a_gradient_that_is_no_number_takes_no_step(
    tmp_path: Path, train: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    net = Cracked(range(5, 6), out=tmp_path, epochs=1, **train)
    loader = FakeLoader(6, accumulate=train.get("grad_accumulation_steps", 1))
    result = trainer.fit(net, loader, decode=decode)
    weights = load_file(result.last / "weights.safetensors")
    assert all(value.isfinite().all() for value in weights.values())
    step = 3 if "grad_accumulation_steps" in train else 5
    rows = {row["step"]: row for row in read_log(tmp_path / "log.jsonl")}
    assert rows[step]["skipped"] == 1
    assert "skipped" not in rows[step - 1] and "grad_norm" in rows[step - 1]
    said = capsys.readouterr().out
    assert f"step {step}: the gradient is not finite, so the weights are unchanged" in said
    assert "1 step was not taken" in said


def test_the_norm_that_is_logged_is_that_before_clipping(tmp_path: Path) -> None:
    for clip in (0.01, 1000.0):
        torch.manual_seed(0)
        settings = spec(tmp_path / str(clip), max_steps=1, max_grad_norm=clip)
        trainer.fit(FakeNet(settings), FakeLoader(), decode=decode)
    small, large = (read_log(tmp_path / str(clip) / "log.jsonl")[0]["grad_norm"] for clip in (0.01, 1000.0))
    assert small == large > 0.01


def test_a_run_whose_gradients_stay_no_numbers_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "PATIENCE", 3)
    with pytest.raises(UserError, match=r"3 steps in a row, up to step 4; .*Last checkpoint: none"):
        trainer.fit(Cracked(range(2, 99), out=tmp_path), FakeLoader(), decode=decode)
