"""`mplug2 eval` on a spec with named evaluations: all of them or one, each with its table and its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import mplug2
from mplug2.cli.app import app
from mplug2.data.shapes.questions import vocabulary
from mplug2.data.shapes.write import encode
from mplug2.weights.store import save_weights

TINY = (
    Path(__file__).resolve().parents[2] / "configs_video" / "VideoQA_shapes_tiny.yaml"
)
SPEC = """
extends: BASE
eval:
  metrics: [accuracy]
  dev: {split: val}
  held out: {split: test, metrics: [vqa_accuracy], batch_size: 1}
"""
ANSWERS = {"val": ["red", "left"], "test": ["blue"]}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec with two evaluations, random weights, a clip, and the questions of two splits."""
    folder = tmp_path_factory.mktemp("named")
    (folder / "vocab.txt").write_text("\n".join(vocabulary()) + "\n")
    (folder / "named.yaml").write_text(SPEC.replace("BASE", str(TINY)))
    torch.manual_seed(0)
    save_weights(mplug2.compose(TINY), folder / "weights.safetensors")
    encode(
        folder / "clip.mp4",
        np.random.default_rng(0).integers(0, 255, (12, 64, 80, 3), np.uint8),
    )
    for split, answers in ANSWERS.items():
        rows = [
            {"video_id": "clip", "question": "what colour is it?", "answer": answer}
            for answer in answers
        ]
        (folder / f"{split}.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows)
        )
    return folder


def evaluated(made: Path, *words: str) -> Any:
    data = [f"data.{split}.path={made / split}.jsonl" for split in ANSWERS]
    settings = [
        f"data.tokenizer={made / 'vocab.txt'}",
        f"data.media={made}",
        "data.workers=0",
        *data,
    ]
    return CliRunner().invoke(
        app, ["eval", str(made / "named.yaml"), "-c", str(made), *settings, *words]
    )


def test_all_evaluations_run_and_each_has_its_file(made: Path) -> None:
    done = evaluated(made, "--out", str(made / "p.jsonl"))
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines.index("dev: data, val") < lines.index("held out: data, test")
    assert any(
        line.startswith("dev/accuracy: ") and line.endswith("on 2 samples of val")
        for line in lines
    )
    assert any(
        line.startswith("held out/vqa_accuracy: ") and "on 1 samples of test" in line
        for line in lines
    )
    counts = [
        len((made / name).read_text().splitlines())
        for name in ("p.dev.jsonl", "p.held%20out.jsonl")
    ]
    assert counts == [2, 1]
    assert not (made / "p.jsonl").exists()


def test_one_evaluation_by_name_and_on_another_split(made: Path) -> None:
    done = evaluated(
        made, "--only", "dev", "--split", "test", "--out", str(made / "one.jsonl")
    )
    assert done.exit_code == 0, done.output
    assert "on 1 samples of test" in done.output
    assert "held out" not in done.output
    assert len((made / "one.jsonl").read_text().splitlines()) == 1


def test_an_evaluation_that_does_not_exist_is_named_with_those_that_do(
    made: Path,
) -> None:
    done = evaluated(made, "--only", "test")
    assert done.exit_code == 2
    assert "there is no evaluation 'test'. Evaluations: dev, held out" in done.output
    done = evaluated(made, "--submission", str(made / "r.json"))
    assert done.exit_code == 2
    assert (
        "--submission needs one evaluation (got dev, held out). Name it: --only NAME"
        in done.output
    )
