"""A goal that gives `identity(ema(logits))` is evaluated with averaged weights, also from a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mplug2
from mplug2.build.compose import compose
from mplug2.eval.run import evaluate_checkpoint
from mplug2.weights.momentum import load_momentum
from mplug2.weights.store import load_weights
from registry import Spec, UserError, read_spec

SPEC = """
extends: {root}/configs_image/_base_/classes.yaml
modules:
  vision: {{use: image_vit, width: 16, depth: 1, heads: 2, patch: 8, size: 16}}
  head: {{width: 16, classes: 2}}
flow: {{averaged: identity(ema(logits))}}
goals: {{predict: {{label: averaged}}}}
momentum: {{decay: 0.5}}
data: {{labels: [dark, light], workers: 0, train: {{path: {folder}}}, val: {{path: {folder}}}}}
train: {{epochs: 3, batch_size: 2, lr: 1e-2, warmup: 0, engine: torch, loggers: [jsonl],
  output_dir: {folder}/../run}}
eval: {{split: val}}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    folder = tmp_path / "photos"
    rng = np.random.default_rng(0)
    for label, grey in (("dark", 0), ("light", 150)):
        (folder / label).mkdir(parents=True)
        for number in range(2):
            pixels = rng.integers(grey, grey + 100, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    file = tmp_path / "spec.yaml"
    file.write_text(SPEC.format(root=Path(mplug2.__file__).parents[1], folder=folder))
    return read_spec(file)


def scores(file: Path) -> list[float]:
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [row["score"] for row in rows if "score" in row]


def test_the_checkpoint_is_evaluated_as_in_training(spec: Spec, tmp_path: Path) -> None:
    mplug2.train(spec)
    run = tmp_path / "run"
    evaluate_checkpoint(spec, run / "last", predictions=tmp_path / "averaged.jsonl")
    in_training = scores(max((run / "predictions").glob("val_*.jsonl")))
    assert len(in_training) == 4
    assert scores(tmp_path / "averaged.jsonl") == pytest.approx(in_training, abs=1e-6)

    plain = read_spec(spec.path, ["flow.averaged=identity(logits)"])
    evaluate_checkpoint(plain, run / "last", predictions=tmp_path / "plain.jsonl")
    assert scores(tmp_path / "plain.jsonl") != pytest.approx(in_training, abs=1e-6)


def test_without_averaged_copies_they_begin_as_the_weights(
    spec: Spec, tmp_path: Path
) -> None:
    mplug2.train(spec)
    checkpoint = (tmp_path / "run" / "last").resolve()
    (checkpoint / "momentum.safetensors").unlink()
    net = compose(spec, initial=False)
    load_weights(net, checkpoint / "weights.safetensors")
    load_momentum(net, checkpoint)
    for name, copied in net.ema_state_dict().items():
        torch.testing.assert_close(copied, net.state_dict()[name])
    with pytest.raises(
        UserError,
        match="momentum.safetensors is missing, and the checkpoint was written",
    ):
        load_momentum(net, checkpoint, required=True)
