"""Three sources and goals in one run, from the page that explains them: killed, resumed, evaluated twice."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_runs import same_weights

from mplug2.data.shapes.write import make_shapes
from mplug2.train.logs import read_log
from registry import read_spec
from registry.training import training_plan

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "several_sources.md").read_text(encoding="utf-8")
STEPS = 6


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the spec of the page, with a small shapes world."""
    folder = tmp_path_factory.mktemp("several")
    make_shapes(folder / "shapes", train=16, val=4, test=2, workers=1)
    text, *_ = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    path = folder / "several.yaml"
    path.write_text(text.replace("data/shapes", str(folder / "shapes")))
    return path


def settings(out: Path, **more: object) -> list[str]:
    values = {
        "train.engine": "torch",
        "train.max_steps": STEPS,
        "train.warmup": 2,
        "train.log_every": 1,
        "train.save_every": "{steps: 2}",
        "train.eval_every": "{steps: 3}",
        "train.output_dir": out,
        "data.workers": 0,
        "data.batches.video.batch_size": 4,
        "data.batches.image.batch_size": 4,
        "data.batches.text.batch_size": 8,
        "train.micro_batch": 2,
        **more,
    }
    return [f"{key}={value}" for key, value in values.items()]


def start(spec: Path, out: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start a training of its own: each run has the same threads and the same process group."""
    group = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    environment = {
        name: value for name, value in os.environ.items() if name not in group
    }
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "mplug2",
        "train",
        str(spec),
        *more,
        *settings(out),
    ]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=quiet, stderr=quiet, env=environment)


@pytest.mark.slow
def test_a_killed_run_resumes_bit_equal_and_evaluates_both(
    spec: Path, tmp_path: Path
) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert start(spec, whole).wait() == 0
    rows = [row for row in read_log(whole / "log.jsonl") if "lr" in row]
    drawn = {key for row in rows for key in row if key.startswith("loss/")}
    assert len(rows) == STEPS and len(drawn) >= 2

    process = start(spec, part)
    while not (part / "checkpoints/step_00000002/state.json").is_file():
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert start(spec, part, "--resume").wait() == 0

    states = [
        json.loads((run / "last/state.json").read_text()) for run in (whole, part)
    ]
    assert states[0] == states[1]
    assert states[0]["step"] == STEPS
    assert set(states[0]["metrics"]) == {"qa/accuracy", "sentences/label_accuracy"}
    same_weights(whole / "last", part / "last")


def test_the_page_says_what_the_plan_is(spec: Path) -> None:
    plan = training_plan(read_spec(spec))
    assert list(plan.sources) == ["clips", "images", "sentences"]
    assert {name: batch.goal for name, batch in plan.batches.items()} == {
        n: n for n in ("video", "image", "text")
    }
    assert [evaluation.name for evaluation in plan.evaluations] == ["qa", "sentences"]
    assert plan.main_batch == "video"
