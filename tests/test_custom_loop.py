"""The guide to custom training loops: its code runs as it is, on the shapes world at a tiny size."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from mplug2.data.shapes.write import make_shapes

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "custom_training_loop.md").read_text(encoding="utf-8")
LOOP, FIT = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
SMALL = """
extends: {root}/configs_image/retrieval_shapes_tiny.yaml
modules: {{feature_queue: {{size: 4}}}}
data: {{workers: 0, max_bad_fraction: 1}}
train: {{batch_size: 2}}
eval: {{rerank: 2}}
"""


def run(code: str) -> dict[str, Any]:
    """Run the code of the page, and return its names."""
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(code, "custom_training_loop.md", "exec", dont_inherit=True), names)
    return names


def test_the_loop_trains_and_evaluates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len([line for line in LOOP.splitlines() if line]) <= 32
    monkeypatch.chdir(tmp_path)
    make_shapes(tmp_path / "data" / "shapes", train=6, val=3, test=3, workers=1)
    (tmp_path / "configs_image").mkdir()
    (tmp_path / "configs_image" / "retrieval_shapes_tiny.yaml").write_text(
        SMALL.format(root=ROOT)
    )
    names = run(LOOP.replace("STEPS = 200", "STEPS = 3"))
    assert len(names["losses"]) == 3
    assert all(math.isfinite(loss) for loss in names["losses"])
    net = names["net"]
    averaged = net.ema_state_dict()
    assert averaged
    weights = net.state_dict()
    assert any(not torch.equal(value, weights[key]) for key, value in averaged.items())
    assert names["result"].metrics
    assert all(0 <= value <= 1 for value in names["result"].metrics.values())


def test_fit_learns_from_the_loader_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (spec,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    (tmp_path / "tokens.yaml").write_text(spec)
    names = run(FIT)
    result = names["result"]
    assert result.steps == 60
    # The classes are 58 % and 42 % of all texts.
    assert result.metrics["label_accuracy"] > 0.9
    # Resuming a run that is done restores the position and trains no further.
    again = names["mplug2"].fit(
        names["net"], loader := names["GeneratedTexts"](), resume=True
    )
    assert again.steps == 60
    assert loader.state_dict() == {"epoch": 6, "samples": 0, "samples_per_epoch": 320}
