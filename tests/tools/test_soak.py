"""The verdict of a soak run: growth beyond noise, and steps that a kill lost; and one cycle of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.soak import Cycle, lost_steps, memory_of, soak, trend_of


def cycles(memory: list[float], steps: list[int] | None = None) -> list[Cycle]:
    steps = steps or list(range(len(memory)))
    made = []
    for number, (size, step) in enumerate(zip(memory, steps, strict=True)):
        made.append(Cycle(360.0 * number, "SIGKILL", step, 0.0, size, 0.5, 4))
    return made


def test_a_steady_memory_does_not_grow_and_a_leak_does() -> None:
    flat = trend_of(cycles([100, 400, 500, 503, 499, 501, 502, 498, 500, 501]))
    assert abs(flat.slope) < 10
    assert not flat.grows
    leak = trend_of(cycles([500 + 30 * number for number in range(12)]))
    assert leak.slope == pytest.approx(300)
    assert leak.grows
    assert not trend_of(cycles([1, 2])).grows


def test_a_step_that_a_kill_lost_is_named() -> None:
    assert lost_steps(cycles([1] * 3, [10, 20, 20])) == []
    assert lost_steps(cycles([1] * 3, [10, 20, 15])) == [
        "step 15 after SIGKILL, but 20 was saved before"
    ]


def test_memory_of_a_process() -> None:
    assert memory_of("self") > 10
    assert memory_of(2**22 + 1) == 0


@pytest.mark.slow
def test_a_cycle_of_each_signal(tmp_path: Path) -> None:
    done = soak(150 / 3600, 30, tmp_path)
    assert done
    assert not lost_steps(done)
    assert all(cycle.answers == 4 for cycle in done)
