"""A composed network compiles to one graph, and computes what it computed before.

Each test compiles in a process of its own: the checks of shapes that the tests add to every call of `modules`
are no part of what users compile, and the compiler cannot trace them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from small_specs import TEACHER

SCRIPT = Path(__file__).with_name("compile_network.py")


def compile_network(part: str, *overrides: str) -> None:
    """Run a part of the script; AssertionError with its output if it fails."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), part, *overrides],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == f"{part}: equal\n"


@pytest.mark.parametrize(
    "overrides",
    [(), pytest.param(TEACHER, marks=pytest.mark.slow)],
    ids=["plain", "momentum"],
)
def test_the_train_goal_is_one_graph(overrides: tuple[str, ...]) -> None:
    compile_network("loss", *overrides)


@pytest.mark.slow
def test_the_compiled_loss_and_gradients_are_the_same() -> None:
    compile_network("gradients")
