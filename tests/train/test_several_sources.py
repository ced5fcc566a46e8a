"""Three sources and goals in one run, from the page that explains them: killed, resumed, evaluated twice."""

from __future__ import annotations

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
from mplug2.train.trainer import train
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
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    path = folder / "several.yaml"
    path.write_text(text.replace("data/shapes", str(folder / "shapes")))
    return path


def settings(out: Path, **more: object) -> list[str]:
    values = {
        "train.engine": "torch",
        "train.steps": STEPS,
        "train.warmup": 2,
        "train.log_every": 1,
        "train.save_every": "{steps: 2}",
        "train.eval_every": "{steps: 3}",
        "train.out": out,
        "data.workers": 0,
        "data.batches.video.batch_size": 4,
        "data.batches.image.batch_size": 4,
        "data.batches.text.batch_size": 8,
        "train.micro_batch": 2,
        **more,
    }
    return [f"{key}={value}" for key, value in values.items()]


def test_a_killed_run_resumes_bit_equal_and_evaluates_both(spec: Path, tmp_path: Path) -> None:
    whole = train(spec, settings(tmp_path / "whole"))
    assert set(whole.metrics) == {"qa/accuracy", "sentences/label_accuracy"}
    assert whole.best is not None
    rows = [row for row in read_log(tmp_path / "whole/log.jsonl") if "lr" in row]
    drawn = {key for row in rows for key in row if key.startswith("loss/")}
    assert len(rows) == STEPS and len(drawn) >= 2

    command = [sys.executable, "-m", "mplug2", "train", str(spec), *settings(tmp_path / "part")]
    # The run of this process described its process group in the environment: the other one needs its own.
    group = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    environment = {name: value for name, value in os.environ.items() if name not in group}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, env=environment)
    saved = tmp_path / "part/checkpoints/step_00000002/state.json"
    while not saved.is_file():
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    rest = train(spec, settings(tmp_path / "part"), resume=True)
    assert rest.steps == STEPS
    assert rest.metrics == whole.metrics
    same_weights(whole.last, rest.last)


def test_the_page_says_what_the_plan_is(spec: Path) -> None:
    plan = training_plan(read_spec(spec))
    assert list(plan.sources) == ["clips", "images", "sentences"]
    assert {name: batch.goal for name, batch in plan.batches.items()} == {
        n: n for n in ("video", "image", "text")
    }
    assert [evaluation.name for evaluation in plan.evaluations] == ["qa", "sentences"]
    assert plan.main_batch == "video"
