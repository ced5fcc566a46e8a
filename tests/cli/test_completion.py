"""What a shell completes after `mplug2`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAIN = "import sys; sys.argv = ['mplug2']; from mplug2.cli import main; main()"


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("mplug2 sett", ["settings"]),
        ("mplug2 show VideoQA_sh", ["VideoQA_shapes_tiny"]),
        (
            "mplug2 show VideoQA_shapes_tiny train.warm",
            ["train.warmup=", "train.warmup_lr="],
        ),
        ("mplug2 show my_folder/", []),
    ],
)
def test_commands_specs_and_settings_are_completed(
    words: str, completed: list[str]
) -> None:
    number = str(len(words.split()) - 1)
    request = {
        "_MPLUG2_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": number,
    }
    done = subprocess.run(
        [sys.executable, "-c", MAIN],
        cwd=ROOT,
        env={**os.environ, **request},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.split() == completed
