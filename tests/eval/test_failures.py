"""Exceptions of evaluators and metrics of packages: a located error with the name, the line and the cause."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mplug2  # noqa: F401  (fills the registries)
from mplug2.eval.evaluation import Evaluation, evaluate
from mplug2.metrics.metric import metric
from registry import EVALUATORS, Location, SpecError, UserError
from registry.evaluations import EvaluationSpec

HERE = re.escape(__file__)
NAME_PLACE = Location("my.yaml", 7, 3)


class Net(nn.Module):
    """Returns the batch as the outputs of the goal."""

    def forward(self, batch: dict[str, Any], goal: str) -> dict[str, Any]:
        return batch


class Batch:
    inputs = {"label": torch.tensor([[1.0, 0.0]])}
    records = [
        {"question_id": 0, "question": "", "answers": ["a"], "classes": ["a", "b"]}
    ]


class Broken:
    """Fails in the method that `fail` names, or returns what it must not."""

    def __init__(self, *, settings: Any, fail: str) -> None:
        self.settings, self.fail = settings, fail
        if fail == "init":
            raise ValueError("no such limit")

    @property
    def goals(self) -> tuple[str, ...]:
        return (self.settings.goal,)

    def update(self, outputs: Any, records: Any) -> None:
        if self.fail == "update":
            outputs["lable"]
        if self.fail == "user":
            raise UserError("a message of its own")

    def compute(self) -> Any:
        wrong: dict[str, Any] = {
            "pair": {},
            "values": ([], []),
            "number": ({"hits": torch.ones(2)}, []),
        }
        return wrong.get(self.fail, ({}, [{}]))


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EVALUATORS, "_entries", dict(EVALUATORS._entries))
    EVALUATORS.register("broken")(Broken)


def measure(
    place: Location = NAME_PLACE,
    metrics: Any = (),
    predictions: Path | None = None,
    **arguments: Any,
) -> Evaluation:
    name = "broken" if arguments else None
    evaluation = EvaluationSpec(
        "hard", "data", "test", None, "predict", name, (), arguments, place
    )
    return evaluate(
        Net(),
        [Batch()],
        evaluation,
        decode=str,
        metrics=metrics,
        predictions=predictions,
    )


@pytest.mark.parametrize(
    ("fail", "problem"),
    [
        ("init", "ValueError: no such limit"),
        ("update", "KeyError: goal 'predict' has no output 'lable' .outputs: label."),
        (
            "pair",
            r"TypeError: compute\(\) must return \(values, rows\), but returned dict",
        ),
        (
            "values",
            r"TypeError: compute\(\) must return values by name, but they are list",
        ),
        ("number", "TypeError: the value 'hits' must be a number, but is Tensor"),
    ],
)
def test_an_exception_of_an_evaluator_is_located(fail: str, problem: str) -> None:
    message = (
        rf"^my.yaml:7:3: evaluator 'broken' failed with {problem} \({HERE}:\d+\)\n"
    )
    with pytest.raises(SpecError, match=message) as caught:
        measure(fail=fail)
    cause = caught.value.__cause__
    assert cause is not None and type(cause).__name__ in problem
    assert caught.value.problems[0].hint == "MPLUG2_DEBUG=1 prints the traceback"


def test_the_line_is_the_one_that_failed() -> None:
    with pytest.raises(SpecError) as caught:
        measure(fail="update")
    line = int(re.findall(rf"{HERE}:(\d+)", str(caught.value))[0])
    assert (
        Path(__file__).read_text().splitlines()[line - 1].strip() == 'outputs["lable"]'
    )


def test_a_message_of_the_evaluator_stays() -> None:
    with pytest.raises(UserError, match="^a message of its own$"):
        measure(fail="user")


def test_an_evaluation_that_no_spec_describes_is_named() -> None:
    with pytest.raises(
        UserError,
        match="^eval.hard: evaluator 'broken' failed with ValueError: no such limit",
    ):
        measure(Location(""), fail="init")


def test_an_exception_of_a_metric_is_located_and_predictions_are_kept(
    tmp_path: Path,
) -> None:
    @metric(inputs={"label": "logits B classes"}, outputs={"worst": "scalar"})
    def worst(rows: Any) -> dict[str, float]:
        return {"worst": 1 / (len(rows) - 1)}

    message = rf"^my.yaml:7:3: metric 'worst' failed with ZeroDivisionError: .* \({HERE}:\d+\)\n"
    with pytest.raises(SpecError, match=message):
        measure(metrics=[worst], predictions=tmp_path / "rows.jsonl")
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 1
