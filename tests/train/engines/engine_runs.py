"""A network of two goals, and the steps that every engine must take alike (see test_engines.py).

Started by torchrun, this file runs all its cases on every rank and writes what rank 0 found.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mplug2.runtime import distributed
from mplug2.train.engines.base import Engine, start_engine
from mplug2.train.optim import build_optimizer
from registry.language.schema import with_defaults

# DeepSpeed never shards a tensor of fewer than 100,000 elements.
WIDTH = 384
SAMPLES = 16
SETTINGS = {
    "lr": 1e-2,
    "weight_decay": 0.1,
    "max_grad_norm": 0.5,
    "no_decay": ["*bias"],
}
# The goals that each optimizer step accumulates.
SCHEDULES = {
    "one goal": [("left",)] * 4,
    "alternating": [("left",), ("right",)] * 3,
    "both": [("left", "right"), ("right",), ("left", "right"), ("left",)],
}


class TwoGoals(nn.Module):
    """Goals `left` and `right` share a layer, and each has another of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(8, WIDTH)
        self.left = nn.Linear(WIDTH, WIDTH)
        self.right = nn.Linear(WIDTH, WIDTH)
        self.frozen = nn.Linear(WIDTH, WIDTH).requires_grad_(False)

    def forward(
        self, batch: dict[str, Tensor], goal: str = "left"
    ) -> dict[str, Tensor]:
        x = batch["x"].to(self.shared.weight.dtype)
        hidden = torch.tanh(self.shared(x))
        branch = self.left if goal == "left" else self.right
        outputs = branch(hidden) + self.frozen(hidden)
        errors = (outputs.float() - batch["y"]).pow(2).mean(-1)
        return {"loss": errors.sum(), "count": torch.tensor(len(errors))}


@dataclass(frozen=True)
class Case:
    """One engine, and how many samples a backward call gets."""

    engine: str
    zero: int = 0
    micro: int = 8
    schedule: str = "one goal"
    precision: str = "fp32"


def make_engine(
    case: Case,
    optimizer: Any = None,
    weights: dict[str, Tensor] | None = None,
    **settings: Any,
) -> tuple[TwoGoals, Engine]:
    """Return the network, with its first weights or ``weights``, and the engine of a case around it."""
    torch.manual_seed(0)
    net = TwoGoals()
    if weights is not None:
        net.load_state_dict(weights)
    return net, wrap(net, case, optimizer, **settings)


def wrap(net: TwoGoals, case: Case, optimizer: Any = None, **settings: Any) -> Engine:
    """Return the engine of a case around a network."""
    distributed.init_process_group(accelerator=torch.cuda.is_available())
    settings = with_defaults("train", {**SETTINGS, **settings})
    settings |= {"engine": case.engine, "zero": case.zero, "precision": case.precision}
    built = build_optimizer(net, settings) if optimizer is None else optimizer(net)
    return start_engine(net, built, settings)


def accumulate(engine: Engine, step: int, goals: tuple[str, ...], micro: int) -> float:
    """Run the backward calls of a step over this rank's samples; return the loss over all samples."""
    rank, world = distributed.rank(), distributed.world_size()
    total = 0.0
    for goal in goals:
        draw = torch.Generator().manual_seed(step * 7 + len(goal))
        x = torch.randn(SAMPLES, 8, generator=draw)[rank::world]
        y = torch.randn(SAMPLES, WIDTH, generator=draw)[rank::world]
        device = distributed.device()
        for at in range(0, len(x), micro):
            batch = {
                "x": x[at : at + micro].to(device),
                "y": y[at : at + micro].to(device),
            }
            outputs = engine(batch, goal=goal)
            # Gradients are averaged over ranks, so that each rank divides by its share.
            engine.backward(outputs["loss"] * world / SAMPLES)
            total += outputs["loss"].item() / SAMPLES
    return distributed.all_reduce_sum(total)[0]


def run_case(case: Case) -> dict[str, Any]:
    """Take the steps of a schedule; return losses, gradient norms and final weights."""
    net, engine = make_engine(case)
    losses, norms = [], []
    for step, goals in enumerate(SCHEDULES[case.schedule]):
        losses.append(accumulate(engine, step, goals, case.micro))
        result = engine.step(0.5)
        assert result.taken
        norms.append(result.grad_norm)
    weights = {
        name: engine.consolidate(name).float().cpu().clone()
        for name, _ in net.named_parameters()
    }
    return {"losses": losses, "norms": norms, "weights": weights}


class GradientToWeight(torch.optim.Optimizer):
    """Writes the gradient over the weight, so that `consolidate` returns the gradient."""

    elementwise = True

    def __init__(self, params: Any) -> None:
        super().__init__(params, {"lr": 0.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.copy_(parameter.grad)


def gradients(case: Case) -> dict[str, Tensor]:
    """Return the gradient of one step over both goals, by parameter."""
    net, engine = make_engine(
        case,
        lambda net: GradientToWeight([p for p in net.parameters() if p.requires_grad]),
    )
    accumulate(engine, 0, ("left", "right"), case.micro)
    engine.step(None)
    names = [
        name for name, parameter in net.named_parameters() if parameter.requires_grad
    ]
    return {name: engine.consolidate(name).cpu().clone() for name in names}


def all_cases() -> list[Case]:
    """Return every engine and stage, with micro-batches of 1 and 8, for every schedule."""
    cases = []
    for schedule in SCHEDULES:
        for micro in (1, 8):
            cases.append(Case("torch", 0, micro, schedule))
            cases += [Case("deepspeed", zero, micro, schedule) for zero in range(4)]
    return cases


def main(out: str) -> None:
    """Run all cases on this rank."""
    found: dict[Any, Any] = {}
    for case in all_cases():
        found[case.engine, case.zero, case.micro, case.schedule] = run_case(case)
        if case.schedule == "both":
            found["gradients", case.engine, case.zero, case.micro] = gradients(case)
    if distributed.rank() == 0:
        torch.save(found, Path(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
