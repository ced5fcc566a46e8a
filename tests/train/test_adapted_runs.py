"""A run with adapters: it resumes as if it had not stopped, is evaluated and asked, and merges."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_specs import ROOT
from typer.testing import CliRunner

from mplug2.cli.app import app
from mplug2.data.shapes.write import make_shapes

pytestmark = pytest.mark.slow  # six short trainings

SPEC = "configs_image/classes_shapes_tiny.yaml"
SETTINGS = (
    "data.workers=0",
    "train.batch_size=4",
    "train.engine=torch",
    "train.warmup=1",
    "train.eval_every=9",
)


def run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, (words, done.output, done.exception)
    return done.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a trained base and a spec that adapts it."""
    path = tmp_path_factory.mktemp("adapted")
    make_shapes(path / "shapes", train=8, val=4, test=4, workers=1)
    data = [
        f"data.{split}.path={path}/shapes/image_classes_{split}.jsonl"
        for split in ("train", "val", "test")
    ]
    settings = [*data, f"data.media={path}/shapes/images", *SETTINGS]
    run("train", SPEC, *settings, "train.max_steps=2", f"train.output_dir={path}/base")
    (path / "lora.yaml").write_text(
        f"extends: {ROOT / SPEC}\n"
        f"init: {{'*': 'checkpoint:{path}/base/last'}}\n"
        "adapt: {vision: {rank: 2, kind: dora}}\n"
    )
    (path / "settings.json").write_text(json.dumps(settings))
    return path


def settings(folder: Path, more: Iterable[str] = ()) -> list[str]:
    return [*json.loads((folder / "settings.json").read_text()), *more]


def weights(run_folder: Path) -> dict[str, torch.Tensor]:
    return load_file(run_folder / "last" / "weights.safetensors")


def test_a_resumed_run_equals_an_uninterrupted_one(folder: Path) -> None:
    lora = str(folder / "lora.yaml")
    stopped = [f"train.output_dir={folder}/part", "train.save_every={steps: 2}"]
    run(
        "train",
        lora,
        *settings(folder, stopped),
        "train.max_steps=2",
        "train.schedule=constant",
    )
    run(
        "train",
        lora,
        *settings(folder, stopped),
        "train.max_steps=4",
        "train.schedule=constant",
        "--resume",
    )
    constant = [f"train.output_dir={folder}/constant", "train.schedule=constant"]
    run("train", lora, *settings(folder, constant), "train.max_steps=4")
    resumed, uninterrupted = weights(folder / "part"), weights(folder / "constant")
    assert resumed.keys() == uninterrupted.keys()
    assert all(torch.equal(resumed[name], uninterrupted[name]) for name in resumed)


def test_it_is_evaluated_asked_and_merged(folder: Path) -> None:
    lora, out = str(folder / "lora.yaml"), [f"train.output_dir={folder}/run"]
    run("train", lora, *settings(folder, out), "train.max_steps=3", "train.lr=1e-2")
    checkpoint = str(folder / "run" / "last")
    stored, base = weights(folder / "run"), weights(folder / "base")
    assert sum(t.numel() for t in stored.values()) < 0.2 * sum(
        t.numel() for t in base.values()
    )
    predictions = [str(folder / f"{name}.jsonl") for name in ("adapted", "merged")]
    run(
        "eval",
        lora,
        *settings(folder),
        "--checkpoint",
        checkpoint,
        "--out",
        predictions[0],
    )
    merged = str(folder / "merged.safetensors")
    assert "adapters merged" in run("merge", lora, "-c", checkpoint, "-o", merged)
    run(
        "eval",
        lora,
        "adapt=",
        *settings(folder),
        "--checkpoint",
        merged,
        "--out",
        predictions[1],
    )
    adapted_rows, merged_rows = (
        Path(name).read_text().splitlines() for name in predictions
    )
    assert len(adapted_rows) == len(merged_rows) > 0
    for first, second in zip(
        map(json.loads, adapted_rows), map(json.loads, merged_rows), strict=True
    ):
        assert first["prediction"] == second["prediction"]
    image = next((folder / "shapes" / "images").iterdir())
    assert "(" in run(
        "predict", lora, *settings(folder), "-c", checkpoint, "--image", str(image)
    )
