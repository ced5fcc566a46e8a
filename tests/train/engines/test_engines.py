"""All engines take the same steps: torch and DeepSpeed at ZeRO stages 0 to 3, on one rank and on two."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_runs import (
    SCHEDULES,
    Case,
    TwoGoals,
    accumulate,
    all_cases,
    gradients,
    make_engine,
    run_case,
    wrap,
)
from quick import mostly_slow
from torch import Tensor

import mplug2  # noqa: F401  (registers the engines)
from modules.ema import EMA
from registry import ENGINES

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SHARDED = [Case("deepspeed", zero) for zero in (1, 2, 3)]
# Whatever is registered must keep the promises of the protocol.
REGISTERED = [Case(engine) for engine in ENGINES.names()]
EVERY = [*REGISTERED, *SHARDED]


ALTERNATING = [Case("deepspeed", zero, 8, "alternating") for zero in range(4)]


def name(case: Case) -> str:
    return f"{case.engine} {case.zero}"


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, Any]]:
    """What the torch engine computes on one rank."""
    return {schedule: run_case(Case("torch", 0, 8, schedule)) for schedule in SCHEDULES}


def distance(first: Tensor, second: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((first - second).abs().max() / second.abs().max())


def assert_same_run(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found["losses"] == pytest.approx(expected["losses"], rel=1e-5)
    assert found["norms"] == pytest.approx(expected["norms"], rel=1e-5)
    for name, weight in expected["weights"].items():
        # The first steps of AdamW have the size of the rate, however small a gradient is.
        assert torch.allclose(found["weights"][name], weight, atol=1e-4), name


def full_gradients() -> dict[str, Tensor]:
    torch.manual_seed(0)
    net = TwoGoals()

    class Alone:
        def __call__(self, batch: dict[str, Tensor], goal: str) -> dict[str, Tensor]:
            return net(batch, goal)

        def backward(self, loss: Tensor) -> None:
            loss.backward()

    accumulate(Alone(), 0, ("left", "right"), 16)  # type: ignore[arg-type]
    return {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    "case",
    [Case("torch", 0, 1), Case("deepspeed", 0, 1), Case("deepspeed", 3, 1)],
    ids=name,
)
def test_gradients_are_those_of_one_large_batch(case: Case) -> None:
    exact = full_gradients()
    found = gradients(case)
    assert found.keys() == exact.keys()
    for key, gradient in exact.items():
        assert distance(found[key], gradient) < 1e-6, key


@pytest.mark.parametrize("zero", mostly_slow([1, 3], [1]))
def test_sums_of_many_micro_batches_are_in_float32_in_bf16(zero: int) -> None:
    exact = full_gradients()
    errors = {}
    for micro in (1, 16):
        found = gradients(Case("deepspeed", zero, micro, precision="bf16"))
        differences = [
            (found[key] - exact[key]).norm() / exact[key].norm() for key in exact
        ]
        errors[micro] = float(torch.stack(differences).max())
    # Summed in bf16, 16 micro-batches have an error of 0.0086, and one large batch 0.0049.
    assert errors[1] < 1.1 * errors[16] < 0.006


@pytest.mark.parametrize(
    "case", mostly_slow(ALTERNATING, [ALTERNATING[0], ALTERNATING[3]]), ids=name
)
def test_alternating_goals_take_the_same_steps(
    case: Case, expected: dict[str, dict[str, Any]]
) -> None:
    assert_same_run(run_case(case), expected["alternating"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", all_cases(), ids=lambda case: f"{name(case)} {case.micro} {case.schedule}"
)
def test_every_engine_takes_the_same_steps(
    case: Case, expected: dict[str, dict[str, Any]]
) -> None:
    assert_same_run(run_case(case), expected[case.schedule])


@pytest.mark.slow
def test_two_ranks_take_the_same_steps(
    tmp_path: Path, expected: dict[str, dict[str, Any]]
) -> None:
    launch(HERE / "engine_runs.py", str(tmp_path / "found.pt"))
    found = torch.load(tmp_path / "found.pt")
    exact = full_gradients()
    for case in all_cases():
        run = found[case.engine, case.zero, case.micro, case.schedule]
        assert_same_run(run, expected[case.schedule])
        if case.schedule == "both":
            for key, gradient in found[
                "gradients", case.engine, case.zero, case.micro
            ].items():
                assert distance(gradient, exact[key]) < 1e-6, (case, key)


def launch(script: Path, *arguments: str) -> None:
    drop = (
        "RANK",
        "WORLD_SIZE",
        "LOCAL_RANK",
        "MASTER_ADDR",
        "MASTER_PORT",
        "DS_ACCELERATOR",
    )
    environment = {key: value for key, value in os.environ.items() if key not in drop}
    environment |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}", "OMP_NUM_THREADS": "1"}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [sys.executable, *launcher, str(script), *arguments]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", EVERY, ids=name)
def test_what_a_step_does_not_reach_stays_unchanged(case: Case) -> None:
    net, engine = make_engine(case)
    accumulate(engine, 0, ("left", "right"), 8)
    engine.step(None)
    before = {
        name: engine.consolidate(name).clone() for name, _ in net.named_parameters()
    }
    for step in (1, 2):
        accumulate(engine, step, ("left",), 8)
        engine.step(None)
    for key, weight in before.items():
        is_reached = key.startswith(("left", "shared"))
        assert torch.equal(engine.consolidate(key), weight) != is_reached, key


@pytest.mark.parametrize("case", EVERY, ids=name)
def test_a_gradient_that_is_not_finite_is_skipped_and_reported(case: Case) -> None:
    net, engine = make_engine(case)
    accumulate(engine, 0, ("left",), 8)
    assert engine.step(0.5).taken
    before = {
        name: engine.consolidate(name).clone() for name, _ in net.named_parameters()
    }
    loss = engine(
        {"x": torch.zeros(1, 8), "y": torch.full((1, 384), float("inf"))}, goal="left"
    )["loss"]
    engine.backward(loss)
    result = engine.step(0.5)
    assert not result.taken
    assert result.grad_norm is None
    for key, weight in before.items():
        assert torch.equal(engine.consolidate(key), weight), key
    # The step after it is not spoilt by what was skipped.
    accumulate(engine, 1, ("right",), 8)
    result = engine.step(0.5)
    assert result.taken
    assert result.grad_norm is not None and 0 < result.grad_norm < 100
    assert torch.equal(engine.consolidate("left.weight"), before["left.weight"])


@pytest.mark.parametrize("case", EVERY, ids=name)
def test_two_forward_passes_before_their_backward_passes(case: Case) -> None:
    _, first = make_engine(case)
    batches = [
        {"x": torch.full((1, 8), value), "y": torch.ones(1, 384)}
        for value in (0.5, 2.0)
    ]
    losses = [first(batch, goal="left")["loss"] for batch in batches]
    for loss in losses:
        first.backward(loss)
    _, second = make_engine(case)
    for batch in batches:
        second.backward(second(batch, goal="left")["loss"])
    assert first.step(None).grad_norm == pytest.approx(
        second.step(None).grad_norm, rel=1e-5
    )


@pytest.mark.parametrize("case", EVERY, ids=name)
def test_a_resumed_engine_equals_the_uninterrupted_one(
    case: Case, tmp_path: Path
) -> None:
    net, engine = make_engine(case)
    accumulate(engine, 0, ("left", "right"), 8)
    engine.step(0.5)
    accumulate(engine, 1, ("left",), 8)
    engine.step(0.5)
    engine.save(tmp_path)
    weights = {
        name: engine.consolidate(name).clone() for name, _ in net.named_parameters()
    }
    _, resumed = make_engine(case, weights=weights)
    resumed.load(tmp_path)
    for step in (2, 3):
        for running in (engine, resumed):
            accumulate(running, step, ("left", "right"), 8)
            running.step(0.5)
    for key in weights:
        assert torch.equal(engine.consolidate(key), resumed.consolidate(key)), key


@pytest.mark.parametrize("zero", mostly_slow([1, 2, 3], [2]))
def test_the_average_follows_the_masters_in_bf16(zero: int) -> None:
    torch.manual_seed(0)
    net = TwoGoals()
    for parameter in net.parameters():
        parameter.data = parameter.data.bfloat16().float()
    ema = EMA({"left": net.left, "shared": net.shared}, decay=0.9)
    start = {key: value.clone() for key, value in ema.state_dict().items()}
    engine = wrap(net, Case("deepspeed", zero, precision="bf16"), lr=2e-6)
    expected = {key: value.clone() for key, value in start.items()}
    for step in range(5):
        ema.update(master=engine.consolidate)
        for key, value in expected.items():
            value.lerp_(engine.consolidate(key), 0.1)
        accumulate(engine, step, ("left",), 8)
        engine.step(0.5)
    for key, value in ema.state_dict().items():
        assert value.dtype == torch.float32
        assert distance(value, expected[key]) < 1e-7, key
        assert float((value != start[key]).float().mean()) > 0.5, key
        # Steps of 2e-6 change hardly any weight in bf16: an average of those would not have moved.
        rounded = engine.consolidate(key).bfloat16().float()
        assert float((rounded != start[key]).float().mean()) < 0.05, key
