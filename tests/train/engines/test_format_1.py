"""Optimizer state of checkpoints without a manifest: what DeepSpeed itself stored, at every ZeRO stage."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_runs import SAMPLES, SETTINGS, Case, TwoGoals, accumulate, make_engine
from quick import mostly_slow
from torch import Tensor

from mplug2.runtime import distributed
from mplug2.runtime.rng import capture_rng
from mplug2.train.checkpoint import load_into_engine
from mplug2.train.engines.deepspeed_zero import load_deepspeed
from mplug2.train.optim import build_optimizer
from registry import UserError
from registry.language.schema import with_defaults


class OldEngine:
    """DeepSpeed as checkpoints of format 1 were written: its optimizer steps flat tensors."""

    def __init__(self, zero: int, precision: str, accumulate: int = 1) -> None:
        self.accumulate = accumulate
        distributed.init_process_group(accelerator=torch.cuda.is_available())
        torch.manual_seed(0)
        self.net = TwoGoals()
        optimizer = build_optimizer(self.net, with_defaults("train", SETTINGS))
        config: dict[str, Any] = {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": accumulate,
            "zero_optimization": {"stage": zero},
            "zero_allow_untested_optimizer": True,
            "steps_per_print": 10**12,
        }
        if precision != "fp32":
            config[precision] = {"enabled": True}
        deepspeed = load_deepspeed()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            deepspeed.init_distributed(auto_mpi_discovery=False, verbose=False)
            self.engine, *_ = deepspeed.initialize(
                model=self.net.to(distributed.device()),
                optimizer=optimizer,
                config=config,
                dist_init_required=False,
            )

    def __call__(self, batch: dict[str, Tensor], goal: str) -> Any:
        return self.engine(batch, goal=goal)

    def backward(self, loss: Tensor) -> None:
        # It divided by the number of micro-batches.
        self.engine.backward(loss * self.accumulate)
        self.engine.step()

    def masters(self) -> dict[str, Tensor]:
        from deepspeed.utils import safe_get_full_fp32_param

        found = {}
        for name, parameter in self.net.named_parameters():
            master = (
                safe_get_full_fp32_param(parameter) if parameter.requires_grad else None
            )
            found[name] = (
                (parameter if master is None else master).detach().float().clone()
            )
        if self.engine.zero_optimization_stage() == 3:
            frozen = list(self.net.frozen.parameters())
            with load_deepspeed().zero.GatheredParameters(frozen):
                for name, parameter in self.net.frozen.named_parameters():
                    found[f"frozen.{name}"] = parameter.detach().float().clone()
        return found


STAGES = [(0, "fp32"), (1, "fp32"), (2, "fp32"), (3, "fp32"), (1, "bf16"), (3, "bf16")]


@pytest.mark.parametrize(
    ("zero", "precision"), mostly_slow(STAGES, [(0, "fp32"), (3, "bf16")])
)
def test_a_run_goes_on_as_it_was_written(
    zero: int, precision: str, tmp_path: Path
) -> None:
    # In 16 bit, sums of micro-batches are in float32 now.
    micro = 8 if precision == "fp32" else SAMPLES
    old = OldEngine(zero, precision, SAMPLES // micro)
    for step in range(3):
        accumulate(old, step, ("left",), micro)  # type: ignore[arg-type]
    payload = {"optimizer": old.engine.optimizer.state_dict(), "rng": capture_rng()}
    (tmp_path / "engine").mkdir()
    torch.save(payload, tmp_path / "engine/rank_00000.pt")
    _, engine = make_engine(
        Case("deepspeed", zero, precision=precision), weights=old.masters()
    )
    torch.rand(5)
    load_into_engine(tmp_path, engine)
    assert torch.equal(torch.get_rng_state(), payload["rng"]["torch"])
    for group in engine.optimizer.param_groups:
        group["lr"] = SETTINGS["lr"]
    for step in range(3, 6):
        first = accumulate(old, step, ("left",), micro)  # type: ignore[arg-type]
        second = accumulate(engine, step, ("left",), micro)
        engine.step(None)
        assert first == pytest.approx(second, rel=1e-6)
    # The goal does not reach `right`, which DeepSpeed alone decayed all the same.
    for name, value in old.masters().items():
        assert name.startswith("right") or torch.allclose(
            engine.consolidate(name).float(), value, atol=1e-7
        ), name


@pytest.mark.parametrize(("written", "read"), [(0, 1), (1, 0), (1, 3)])
def test_another_stage_is_refused(written: int, read: int, tmp_path: Path) -> None:
    old = OldEngine(written, "fp32")
    accumulate(old, 0, ("left",), SAMPLES)  # type: ignore[arg-type]
    payload = {"optimizer": old.engine.optimizer.state_dict(), "rng": capture_rng()}
    torch.save(payload, tmp_path / "rank_00000.pt")
    _, engine = make_engine(Case("deepspeed", read))
    with pytest.raises(UserError, match="the optimizer state is"):
        engine.load(tmp_path)
