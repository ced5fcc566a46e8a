"""`mplug2 eval --report --worst --json` and `mplug2 compare` on a network of random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import mplug2
from mplug2.cli.app import app
from mplug2.weights.store import save_weights
from registry import read_spec

TINY = (
    Path(__file__).resolve().parents[2] / "configs_image" / "classes_shapes_tiny.yaml"
)
SMALL = ["modules.vision.width=16", "modules.vision.depth=1", "modules.head.width=16"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of two small networks, and eight images with classes."""
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(8):
        pixels = rng.integers(0, 255, (48, 48, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        label = ("circle", "ring")[number % 2]
        rows.append(json.dumps({"image": f"{number}.png", "label": label}) + "\n")
    (folder / "test.jsonl").write_text("".join(rows))
    for seed in range(2):
        torch.manual_seed(seed)
        net = mplug2.compose(read_spec(TINY, SMALL))
        (folder / str(seed)).mkdir()
        save_weights(net, folder / str(seed) / "weights.safetensors")
    return folder


def evaluated(made: Path, seed: int, *words: str) -> Any:
    data = [f"data.test.path={made / 'test.jsonl'}", f"data.media={made}"]
    fixed = [str(TINY), "-c", str(made / str(seed)), *SMALL, *data, "data.workers=0"]
    return CliRunner().invoke(app, ["eval", *fixed, *words])


def test_a_report_has_all_files_and_two_can_be_compared(made: Path) -> None:
    folders = [made / f"report {seed}" for seed in range(2)]
    for seed, folder in enumerate(folders):
        done = evaluated(made, seed, "--report", str(folder), "--worst", "3")
        assert done.exit_code == 0, done.output
        assert "top1: 95 % interval" in done.output
    names = {file.name for file in folders[0].iterdir()}
    assert names == {"report.json", "predictions.jsonl", "confusion.png", "worst.html"}
    page = (folders[0] / "worst.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 3

    compared = CliRunner().invoke(app, ["compare", *map(str, folders)])
    assert compared.exit_code == 0, compared.output
    assert "by the paired bootstrap" in compared.output
    as_json = CliRunner().invoke(app, ["compare", *map(str, folders), "--json"])
    data = json.loads(as_json.output)
    assert [row["value"] for row in data["differences"]] == [
        "top1",
        "top5",
        "mean_class_accuracy",
    ]
    first, second = (run["evaluations"][""]["top1"]["value"] for run in data["values"])
    assert data["differences"][0]["difference"] == pytest.approx(second - first)


def test_json_is_all_that_is_printed(made: Path) -> None:
    done = evaluated(made, 0, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["evaluations"][0]["counts"]["samples"] == 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--worst", "3"], "--worst needs the folder of a report. Add --report DIR"),
        (["--report", "r", "--worst", "0"], "--worst must be at least 1 (got 0)"),
        (["--report", "r", "--out", "p.jsonl"], "Leave --out out"),
        (["--report", str(TINY)], "--report must be a folder (got the file"),
    ],
)
def test_options_that_do_not_go_together(
    made: Path, words: list[str], message: str
) -> None:
    done = evaluated(made, 0, *words)
    assert done.exit_code == 2
    assert message in done.output


def test_one_run_cannot_be_compared() -> None:
    done = CliRunner().invoke(app, ["compare", "here"])
    assert done.exit_code == 2
    assert "compare needs two or more runs (got 1)" in done.output
