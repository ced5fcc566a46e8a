"""Video question answering from end to end on a small shapes world: made, trained, measured, asked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mplug2.cli.app import app
from mplug2.data.shapes.write import make_shapes
from mplug2.train.logs import read_log

ROOT = Path(__file__).resolve().parents[1]
SPEC = str(ROOT / "configs_video" / "VideoQA_shapes_tiny.yaml")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "shapes"
    make_shapes(folder, train=48, val=8, test=8, workers=1)
    return folder


def settings(world: Path, out: Path, *more: str) -> list[str]:
    data = [
        f"data.{split}.path={world / f'qa_{split}.jsonl'}"
        for split in ("train", "val", "test")
    ]
    fixed = [
        f"data.media={world / 'videos'}",
        f"data.tokenizer={world / 'vocab.txt'}",
        f"train.output_dir={out}",
    ]
    return [*data, *fixed, "data.workers=0", "train.warmup=0", *more]


def run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.usefixtures("curves")
def test_trained_measured_and_asked(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = settings(
        world,
        out,
        "train.epochs=3",
        "train.eval_every=3",
        "train.batch_size=8",
        "train.log_every=1",
    )
    run("train", SPEC, *words)
    losses = [row["loss"] for row in read_log(out / "log.jsonl") if "loss" in row]
    assert sum(losses[-3:]) < 0.5 * sum(losses[:3]), "the loss falls"
    assert {path.name for path in (out / "best").iterdir()} >= {
        "weights.safetensors",
        "spec.yaml",
    }
    assert (out / "curves.png").stat().st_size > 1000

    written = tmp_path / "predictions.jsonl"
    table = run(
        "eval", SPEC, "--checkpoint", str(out / "best"), "--out", str(written), *words
    )
    assert "motion_direction" in table and "accuracy:" in table
    rows = [json.loads(line) for line in written.read_text().splitlines()]
    assert len(rows) == len((world / "qa_test.jsonl").read_text().splitlines())

    clip = str(world / "videos" / "test_00000.mp4")
    said = run(
        "predict",
        SPEC,
        "-c",
        str(out / "best"),
        "--video",
        clip,
        "--question",
        rows[0]["question"],
        *words,
    )
    assert rows[0]["prediction"] in said, (
        "asking gives the answer that the evaluation wrote down"
    )


def first_loss(
    world: Path, out: Path, launcher: list[str], batch: int, zero: int
) -> float:
    drop = (
        "RANK",
        "WORLD_SIZE",
        "LOCAL_RANK",
        "MASTER_ADDR",
        "MASTER_PORT",
        "DS_ACCELERATOR",
    )
    environment = {key: value for key, value in os.environ.items() if key not in drop}
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": path}
    steps = [
        "train.max_steps=2",
        "train.log_every=1",
        f"train.batch_size={batch}",
        f"train.zero={zero}",
    ]
    command = [*launcher, "train", SPEC, *settings(world, out, *steps)]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return next(row["loss"] for row in read_log(out / "log.jsonl") if "loss" in row)


@pytest.fixture(scope="module")
def alone(world: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    return first_loss(
        world,
        tmp_path_factory.mktemp("alone") / "run",
        [sys.executable, "-m", "mplug2"],
        8,
        0,
    )


@pytest.mark.slow
@pytest.mark.parametrize("zero", [1, 2, 3])
@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
def test_two_ranks_have_the_loss_of_one(
    world: Path, alone: float, tmp_path: Path, launcher: str, zero: int
) -> None:
    starts = {
        "torchrun": [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node",
            "2",
        ],
        "deepspeed": [
            shutil.which("deepspeed", path=str(Path(sys.executable).parent))
            or "deepspeed",
            *(
                "--num_accelerators",
                "2",
                "--master_port",
                str(29600 + zero),
                "--no_local_rank",
            ),
        ],
    }
    loss = first_loss(
        world, tmp_path / "run", [*starts[launcher], "--module", "mplug2"], 4, zero
    )
    assert loss == pytest.approx(alone, abs=1e-4)
