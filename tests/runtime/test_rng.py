"""Random numbers that can be put back."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch

from mplug2.runtime.rng import capture_rng, fork_rng, restore_rng, seed_everything


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.standard_normal()), float(torch.rand(()))


def test_a_captured_state_survives_a_safe_file(tmp_path: Path) -> None:
    seed_everything(3)
    draw()
    torch.save(capture_rng(), tmp_path / "rng.pt")
    expected = [draw() for _ in range(3)]
    restore_rng(torch.load(tmp_path / "rng.pt", weights_only=True))
    assert [draw() for _ in range(3)] == expected


def test_ranks_draw_different_numbers_and_a_seed_the_same() -> None:
    seed_everything(3, rank=1)
    first = draw()
    seed_everything(3, rank=1)
    assert draw() == first
    seed_everything(3, rank=0)
    assert not set(draw()) & set(first)


def test_what_happens_in_between_leaves_no_trace() -> None:
    seed_everything(5)
    with fork_rng():
        draw()
    after = draw()
    seed_everything(5)
    assert draw() == after
