"""Learning rates by step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mplug2.train.schedule import Schedule
from registry.errors import UserError


@pytest.mark.parametrize(("key", "lr"), [("lr1", 2e-5), ("lr2", 2e-6)])
def test_the_released_schedule_at_every_step(shared: Path, key: str, lr: float) -> None:
    recorded = json.loads(
        (shared / "reference/parity/mplug2/data/lr_schedules.json").read_text()
    )
    rates = recorded["vqa_step_size1_steps500_epochs10"][key]
    schedule = Schedule("cosine", total=5000, warmup=200, warmup_lr=1e-6, min_lr=1e-6)
    assert [schedule.at(step, lr) for step in range(5000)] == pytest.approx(
        rates, rel=1e-6
    )


def test_warm_up_starts_low_and_ends_at_the_full_rate() -> None:
    schedule = Schedule("cosine", total=100, warmup=10, warmup_lr=0.1, min_lr=0.0)
    rates = [schedule.at(step, 1.0) for step in range(12)]
    assert rates[:3] == pytest.approx([0.1, 0.1, 0.19])
    assert rates[11] == 1.0
    assert rates == sorted(rates)


def test_linear_falls_evenly_and_constant_stays() -> None:
    linear = Schedule("linear", total=10, min_lr=0.2)
    assert linear.at(6, 1.0) == pytest.approx(0.6)
    assert Schedule("constant", total=10, warmup=2).at(9, 0.3) == 0.3


def test_no_rate_is_raised_by_the_floor_or_the_warm_up() -> None:
    schedule = Schedule("cosine", total=10, warmup=3, warmup_lr=1e-3, min_lr=1e-3)
    assert {schedule.at(step, 1e-5) for step in range(10)} == {1e-5}


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(
        UserError, match="must be one of cosine, linear, constant, but is 'step'"
    ):
        Schedule("step", total=10)  # type: ignore[arg-type]
