"""The pages about evaluators, metrics and loggers: their examples run as written."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mplug2  # noqa: F401  (fills the registries)
from mplug2.eval.evaluation import Evaluation, evaluate
from mplug2.eval.evaluator import Evaluator
from mplug2.train import logs
from registry import EVALUATORS, LOGGERS, METRICS, Registry, parse_spec
from registry.evaluations import EvaluationSpec
from registry.language.schema import EVALUATOR_ARGUMENTS

PAGES = Path(__file__).resolve().parents[1] / "docs" / "extending"
REGISTRIES = {"evaluators": EVALUATORS, "metrics": METRICS, "loggers": LOGGERS}


def blocks(page: str, language: str) -> list[str]:
    """Return the blocks of a page in one language."""
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture
def installed(
    request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Registry]:
    """The Python files of a page on the path, and what its entry points name in a registry of its own."""
    modules = []
    for block in blocks(request.param, "python"):
        name = block.splitlines()[0].removeprefix("# ")
        (tmp_path / name).write_text(block)
        modules.append(Path(name).stem)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    (points,) = blocks(request.param, "toml")
    (kind,) = re.findall(r'"mplug2\.(\w+)"', points)
    full, own = (
        REGISTRIES[kind],
        Registry(REGISTRIES[kind].kind, requires=REGISTRIES[kind].requires),
    )
    for name in full.names():
        own.register(name, full.target(name))
    for name, target in re.findall(
        r'^(\w+) = "([\w.]+:\w+)"', points, flags=re.MULTILINE
    ):
        own.register(name, target)
    yield own
    for name in modules:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("page", "limit"), [("evaluator", 90), ("metric", 65), ("logger", 60)]
)
def test_a_page_is_short(page: str, limit: int) -> None:
    assert len((PAGES / f"{page}.md").read_text(encoding="utf-8").splitlines()) <= limit


def test_the_page_of_evaluators_has_all_optional_attributes_and_arguments() -> None:
    """The page is complete: nobody has to read the source."""
    text = (PAGES / "evaluator.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    first_cells = " ".join(line.split(" | ")[0] for line in rows)
    listed = Evaluator.__doc__ or ""
    attributes = re.findall(
        r"``(\w+)``", "".join(re.findall(r"^    - (.*?):", listed, flags=re.MULTILINE))
    )
    assert {"outputs", "smaller_is_better", "one_row_per_record"} <= set(attributes)
    for name in (*attributes, *EVALUATOR_ARGUMENTS):
        assert f"`{name}`" in first_cells, name


class Logits(nn.Module):
    """Returns the batch as the outputs of the goal."""

    def forward(self, batch: dict[str, Any], goal: str) -> dict[str, Any]:
        return batch


class Batch:
    def __init__(
        self, logits: list[list[float]], records: list[dict[str, Any]]
    ) -> None:
        self.inputs, self.records = {"label": torch.tensor(logits)}, records


def record(number: int, answer: str, **more: Any) -> dict[str, Any]:
    classes = ["run", "jump", "sit"]
    return {
        "question_id": number,
        "question": "",
        "answers": [answer],
        "classes": classes,
        **more,
    }


# Two views of a video whose probabilities disagree, one of another, and one that repeats a sample.
BATCHES = [
    Batch([[2.0, 1.0, 0.0], [0.0, 3.0, 0.0]], [record(1, "jump"), record(1, "jump")]),
    Batch(
        [[0.0, 0.0, 5.0], [9.0, 0.0, 0.0]],
        [record(0, "run"), record(0, "run", padding=True)],
    ),
]


def measure(metrics: list[Any], evaluator: str | None, **arguments: Any) -> Evaluation:
    settings = EvaluationSpec(
        "test", "data", "test", None, "predict", evaluator, (), arguments
    )
    return evaluate(Logits(), BATCHES, settings, decode=str, metrics=metrics)


@pytest.mark.parametrize("installed", ["evaluator"], indirect=True)
def test_the_evaluator_of_the_page(
    installed: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mplug2.eval.evaluator.EVALUATORS", installed)
    (text,) = blocks("evaluator", "yaml")
    settings = parse_spec(f"goals: {{predict: {{label: x}}}}\n{text}", "x.yaml").eval[
        "evaluations"
    ]["test"]
    assert settings == {
        "evaluator": "averaged_views",
        "output": "label",
        "metrics": ["label_accuracy"],
    }
    found = measure(
        settings["metrics"], settings["evaluator"], output=settings["output"]
    )
    assert found.metrics == {"views_per_sample": 1.5, "label_accuracy": 0.5}
    assert found.samples == 2
    # `train.best_metric` is compared with these names.
    assert list(installed.declaration("averaged_views").outputs) == ["views_per_sample"]


@pytest.mark.parametrize("installed", ["evaluator"], indirect=True)
def test_a_named_evaluation_reports_its_values_under_its_name(
    installed: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mplug2.eval.evaluator.EVALUATORS", installed)
    found = measure(["label_accuracy"], "averaged_views", output="label")
    assert set(found.reported) == {"test/views_per_sample", "test/label_accuracy"}
    page = (PAGES / "evaluator.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in found.reported)


@pytest.mark.parametrize("installed", ["metric"], indirect=True)
def test_the_metrics_of_the_page(installed: Registry) -> None:
    assert installed.declaration("top5").doc.startswith("The fraction of rows")
    function, made = installed.load("top5"), installed.load("class_accuracy")()
    found = measure([function, made], None)
    # Of the class "jump" one of two rows is correct, of "run" none.
    assert found.metrics == {"top5": 1.0, "class_accuracy": 0.25}
    (table,) = found.tables
    assert table.rows == (("jump", 0.5), ("run", 0.0))
    assert function([]) != function([])
    assert made.compute([])["class_accuracy"] != made.compute([])["class_accuracy"]


@pytest.mark.parametrize("installed", ["logger"], indirect=True)
def test_the_logger_of_the_page(
    installed: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LOGGERS", installed)
    (text,) = blocks("logger", "yaml")
    settings = parse_spec(f"goals: {{predict: {{label: x}}}}\n{text}", "x.yaml").train
    for start in (
        0,
        2,
    ):  # A run of four steps, and one that continues after the second.
        with logs.RunLog(tmp_path, start, settings) as log:
            for step in range(start + 1, 5):
                log.write(step, loss=1.0, **{"val/accuracy": step / 10 + start})
    rows = (tmp_path / "table.csv").read_text().split()
    assert rows == [
        "1,accuracy,0.1",
        "2,accuracy,0.2",
        "3,accuracy,2.3",
        "4,accuracy,2.4",
    ]
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]
