"""The wheel outside the checkout: specs by name, training, evaluation and prediction."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed wheel; what it depends on comes from this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [
        "wheel",
        str(ROOT),
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder),
    ]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)],
        check=True,
    )
    return folder / "site"


def test_train_eval_and_predict_by_the_name_of_a_spec(
    site: Path, tmp_path: Path
) -> None:
    def run(*words: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "mplug2", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    spec = "VideoQA_shapes_tiny"
    run(
        "data",
        "make-shapes",
        "data/shapes",
        "--train",
        "16",
        "--val",
        "4",
        "--test",
        "4",
    )
    assert "no mistakes" in run("check", spec, "--run")
    run("train", spec, "train.max_steps=2", "train.warmup=0", "data.workers=0")
    checkpoint = ("--checkpoint", f"runs/{spec}/last")
    assert "accuracy:" in run("eval", spec, *checkpoint, "data.workers=0")
    clip = ("--video", "data/shapes/videos/test_00000.mp4")
    answer = run("predict", spec, *checkpoint, *clip, "--question", "what moves?")
    assert answer.startswith("data/shapes/videos/test_00000.mp4: what moves?")
