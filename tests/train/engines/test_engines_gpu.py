"""The engines on a GPU: 16 bit agrees with float32, steps are skipped and reported, and runs resume."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from engine_runs import Case, accumulate, make_engine, run_case

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
CASES = [Case("torch"), Case("torch", precision="bf16")]
for precision in ("fp32", "bf16", "fp16"):
    CASES += [Case("deepspeed", zero, precision=precision) for zero in range(4)]


def name(case: Case) -> str:
    return f"{case.engine} {case.zero} {case.precision}"


@pytest.mark.parametrize("case", CASES, ids=name)
def test_it_takes_the_steps_of_float32(case: Case) -> None:
    schedule = Case(case.engine, case.zero, 8, "alternating", case.precision)
    expected = run_case(Case("torch", 0, 8, "alternating"))
    found = run_case(schedule)
    tolerance = 1e-4 if case.precision == "fp32" else 2e-2
    assert found["losses"] == pytest.approx(expected["losses"], rel=tolerance)
    assert found["norms"] == pytest.approx(expected["norms"], rel=tolerance)
    for key, weight in expected["weights"].items():
        assert torch.allclose(found["weights"][key], weight, atol=3e-2), key


@pytest.mark.parametrize("case", CASES, ids=name)
def test_a_gradient_that_is_not_finite_is_skipped(case: Case) -> None:
    net, engine = make_engine(case)
    accumulate(engine, 0, ("left",), 8)
    assert engine.step(0.5).taken
    before = {key: engine.consolidate(key).clone() for key, _ in net.named_parameters()}
    batch = {
        "x": torch.zeros(1, 8).cuda(),
        "y": torch.full((1, 384), float("inf")).cuda(),
    }
    engine.backward(engine(batch, goal="left")["loss"])
    result = engine.step(0.5)
    assert (result.taken, result.grad_norm) == (False, None)
    for key, weight in before.items():
        assert torch.equal(engine.consolidate(key), weight), key
    accumulate(engine, 1, ("right",), 8)
    assert engine.step(0.5).taken
    assert torch.equal(engine.consolidate("left.weight"), before["left.weight"])


@pytest.mark.parametrize("case", CASES, ids=name)
def test_a_resumed_engine_equals_the_uninterrupted_one(
    case: Case, tmp_path: Path
) -> None:
    net, engine = make_engine(case)
    for step in range(2):
        accumulate(engine, step, ("left", "right"), 8)
        engine.step(0.5)
    engine.save(tmp_path)
    weights = {
        key: engine.consolidate(key).float().cpu().clone()
        for key, _ in net.named_parameters()
    }
    _, resumed = make_engine(case, weights=weights)
    resumed.load(tmp_path)
    for step in (2, 3):
        for running in (engine, resumed):
            accumulate(running, step, ("left", "right"), 8)
            running.step(0.5)
    for key in weights:
        torch.testing.assert_close(
            engine.consolidate(key), resumed.consolidate(key), rtol=1e-6, atol=1e-7
        )
