"""Frame choice equals the recorded one, and its promises hold for any length."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mplug2.data.media.frames import frame_indices


@pytest.fixture(scope="module")
def recorded(shared: Path) -> dict:
    return json.loads(
        (shared / "reference/parity/mplug2/data/frame_indices.json").read_text()
    )


def test_middle_frames_equal_the_released_ones(recorded: dict) -> None:
    for case in recorded["middle"]:
        assert frame_indices(case["vlen"], case["num_frames"]) == case["middle"], case


def test_random_frames_fill_the_recorded_slots(recorded: dict) -> None:
    rng = np.random.default_rng(0)
    for case in recorded["rand"]:
        draws = np.array(
            [
                frame_indices(case["vlen"], case["num_frames"], "random", rng)
                for _ in range(400)
            ]
        )
        bounds = np.array(case["slot_min_max"])
        if (
            case["vlen"] >= 2 * case["num_frames"]
        ):  # every interval is longer than one frame: the slots are exact
            assert np.array_equal(draws.min(0), bounds[:, 0]), case
            assert np.array_equal(draws.max(0), bounds[:, 1]), case
        assert (np.diff(draws) >= 0).all()


@given(total=st.integers(1, 3000), count=st.integers(1, 64), seed=st.integers(0, 9))
def test_choices_are_ascending_frames_of_the_video(
    total: int, count: int, seed: int
) -> None:
    for sampling in ("middle", "random"):
        chosen = frame_indices(total, count, sampling, np.random.default_rng(seed))
        assert len(chosen) == count
        assert chosen[0] >= 0
        assert chosen[-1] < total
        assert chosen == sorted(chosen)
        taken = min(total, count)
        assert len(set(chosen)) == taken
        assert chosen[taken:] == [chosen[taken - 1]] * (count - taken)


@given(count=st.integers(1, 32), length=st.integers(2, 40), seed=st.integers(0, 9))
def test_a_random_choice_never_takes_the_last_frame_of_an_interval(
    count: int, length: int, seed: int
) -> None:
    chosen = frame_indices(count * length, count, "random", np.random.default_rng(seed))
    assert all(
        frame // length == slot and frame % length != length - 1
        for slot, frame in enumerate(chosen)
    )


def test_the_same_seed_gives_the_same_frames() -> None:
    first, second = (
        frame_indices(300, 16, "random", np.random.default_rng(7)) for _ in range(2)
    )
    assert first == second
    assert first != frame_indices(300, 16, "random", np.random.default_rng(8))


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        frame_indices(0, 4)
    with pytest.raises(ValueError, match="'middle' or 'random'"):
        frame_indices(9, 4, "last")  # type: ignore[arg-type]
