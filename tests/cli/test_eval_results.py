"""`mplug2 eval --results`: a test split without answers becomes what the evaluation server takes."""

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
from mplug2.train.weights import save_weights

TINY = Path(__file__).resolve().parents[2] / "configs_video" / "VideoQA_shapes_tiny.yaml"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a vocabulary, random weights of the tiny network, a clip, and two questions about it."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "vocab.txt").write_text("\n".join(vocabulary()) + "\n")
    torch.manual_seed(0)
    save_weights(mplug2.compose(TINY), folder / "weights.safetensors")
    encode(folder / "clip.mp4", np.random.default_rng(0).integers(0, 255, (12, 64, 80, 3), np.uint8))
    asked = ("what colour is it?", "which way does it move?")
    rows = [{"video_id": "clip", "question": one, "question_id": 70 + n} for n, one in enumerate(asked)]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def evaluated(made: Path, *words: str) -> Any:
    """Run `mplug2 eval` on the two questions."""
    data = (
        f"data.tokenizer={made / 'vocab.txt'}",
        f"data.test.path={made / 'test.jsonl'}",
        f"data.media={made}",
    )
    fixed = [str(TINY), "-c", str(made), *data, "data.workers=0", "eval.metrics=[vqa_accuracy]"]
    return CliRunner().invoke(app, ["eval", *fixed, "--split", "test", *words])


def test_answers_are_written_for_the_server(made: Path) -> None:
    out = made / "answers.json"
    done = evaluated(made, "--results", str(out))
    assert done.exit_code == 0, done.output
    assert "nothing to measure: none of the 2 samples of test has answers\n" in done.output
    assert "nan" not in done.output
    assert f"results: 2 answers in {out}" in done.output
    rows = [json.loads(line) for line in out.with_suffix(".jsonl").read_text().splitlines()]
    assert json.loads(out.read_text()) == [
        {"question_id": 70 + number, "answer": row["prediction"]} for number, row in enumerate(rows)
    ]


@pytest.mark.parametrize("metric", ["accuracy", "vqa_accuracy"])
def test_a_split_without_answers_has_nothing_to_measure(made: Path, metric: str) -> None:
    done = evaluated(made, f"eval.metrics=[{metric}]")
    assert done.exit_code == 0, done.output
    assert done.output.strip().splitlines()[-1] == (
        "nothing to measure: none of the 2 samples of test has answers: --results FILE.json writes what an "
        "evaluation server takes"
    )
    assert metric not in done.output


def test_results_and_predictions_are_two_files(made: Path) -> None:
    done = evaluated(made, "--results", str(made / "x.jsonl"))
    assert done.exit_code == 2
    assert "--results must be another file than --out" in done.output
