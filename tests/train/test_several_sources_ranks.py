"""Three sources and goals: both engines, ZeRO stages 0 to 3, one rank and two, and micro-batches agree."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from mplug2.data.shapes.write import make_shapes
from mplug2.train.logs import read_log

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "several_sources.md").read_text(encoding="utf-8")
# The fourth step of an epoch has an odd number of clips: two ranks then repeat one (docs/distributed.md).
STEPS = 3
# DeepSpeed never shards tensors below a size, so a narrower network would not test stage 3.
WIDTH = 384
# Plain SGD: AdamW divides by the square root of the squared gradient, which turns rounding into steps.
SETTINGS = {
    "train.optimizer": "sgd",
    "train.lr": 0.005,
    "train.max_grad_norm": 0,
    "train.weight_decay": 0,
    "train.max_steps": STEPS,
    "train.warmup": 0,
    "train.schedule": "constant",
    "train.log_every": 1,
    "train.save_every": "{steps: 100}",
    "train.eval_every": "{steps: 100}",
    # One optimizer step takes the gradients of two goals together, the next one those of the third goal.
    "train.iteration": "[all: [video, text], batch: image]",
    "data.workers": 0,
    "data.batches.video.batch_size": 8,
    "data.batches.image.batch_size": 8,
    "data.batches.text.batch_size": 8,
}
CASES = {
    "deepspeed, stage 0": ("deepspeed", 0, 1, 8),
    "deepspeed, stage 3, micro-batch 2": ("deepspeed", 3, 1, 2),
    "torch, micro-batch 1": ("torch", 0, 1, 1),
    "torch, 2 ranks": ("torch", 0, 2, 4),
    "deepspeed, stage 1, 2 ranks": ("deepspeed", 1, 2, 4),
    "deepspeed, stage 2, 2 ranks, micro-batch 1": ("deepspeed", 2, 2, 1),
    "deepspeed, stage 3, 2 ranks": ("deepspeed", 3, 2, 2),
}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the spec of the page at a width that is sharded, with a small shapes world."""
    folder = tmp_path_factory.mktemp("several_ranks")
    make_shapes(folder / "shapes", train=16, val=4, test=2, workers=1)
    # The first is the spec; the others are variants of its lines.
    text = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)[0]
    text = text.replace("width: 96", f"width: {WIDTH}").replace("depth: 2", "depth: 1")
    path = folder / "several.yaml"
    path.write_text(text.replace("data/shapes", str(folder / "shapes")))
    return path


def run(
    spec: Path, out: Path, engine: str, zero: int, ranks: int, micro_batch: int
) -> Path:
    """Train for a few steps and return the folder of the last checkpoint."""
    group = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    environment = {
        name: value for name, value in os.environ.items() if name not in group
    }
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    settings = SETTINGS | {
        "train.engine": engine,
        "train.zero": zero,
        "train.micro_batch": micro_batch,
        "train.output_dir": out,
    }
    launcher = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        str(ranks),
    ]
    words = [f"{key}={value}" for key, value in settings.items()]
    command = [
        sys.executable,
        *(launcher if ranks > 1 else []),
        "-m",
        "mplug2",
        "train",
        str(spec),
        *words,
    ]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "last"


@pytest.fixture(scope="module")
def reference(spec: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train on one rank with the torch engine, each batch in one forward pass."""
    return run(spec, tmp_path_factory.mktemp("reference") / "run", "torch", 0, 1, 8)


def losses(checkpoint: Path) -> list[dict[str, float]]:
    rows = [row for row in read_log(checkpoint.parent / "log.jsonl") if "lr" in row]
    return [{key: row[key] for key in row if key.startswith("loss")} for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_losses_and_weights_agree(
    spec: Path, reference: Path, tmp_path: Path, case: str
) -> None:
    checkpoint = run(spec, tmp_path / "run", *CASES[case])
    expected = losses(reference)
    assert len(expected) == STEPS
    assert {key for row in expected for key in row} >= {
        "loss/video",
        "loss/image",
        "loss/text",
    }
    for row, expected_row in zip(losses(checkpoint), expected, strict=True):
        assert row == pytest.approx(expected_row, rel=1e-5, abs=1e-5)
    state = json.loads((checkpoint / "state.json").read_text())
    assert state["step"] == STEPS
    weights = load_file(checkpoint / "weights.safetensors")
    for name, value in load_file(reference / "weights.safetensors").items():
        difference = (weights[name] - value).abs().max().item()
        assert difference < 1e-6, f"{case}: {name} differs by {difference:.1e}"
