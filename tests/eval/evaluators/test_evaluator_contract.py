"""One contract for every registered evaluator: what the driver, and so every plug-in, relies on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn

import mplug2  # noqa: F401  (fills the registries)
from modules.streams import Sequences
from mplug2.eval.evaluator import Evaluator, GoalOutputs, build_evaluator
from mplug2.eval.predictions import without_fields
from mplug2.metrics.metric import load_metric
from mplug2.runtime.jsonl import finite, json_line
from registry import EVALUATORS, Declaration, UserError
from registry.evaluations import EvaluationSpec

ROWS = 3
# The outputs of a goal for three rows, and a metric of them. A new evaluator fails here until it has one.
Outputs = Callable[[], dict[str, Any]]
CASES: dict[str, tuple[str, Outputs]] = {
    "generation": (
        "accuracy",
        lambda: {
            "answer": Sequences(
                torch.ones(ROWS, 2, 4, dtype=torch.long), torch.zeros(ROWS, 2)
            )
        },
    ),
    "classification": ("label_accuracy", lambda: {"label": torch.randn(ROWS, 4)}),
    "boxes": ("iou", lambda: {"box": torch.rand(ROWS, 4)}),
    "patches": (
        "patch_auc",
        lambda: {
            "patch_logits": torch.randn(ROWS, 4, 2),
            "patches": torch.tensor([[1, 0, 0, 1]] * ROWS),
        },
    ),
    "regression": ("", lambda: {"value": torch.randn(ROWS)}),
    "perplexity": (
        "perplexity",
        lambda: {"loss_sum": torch.rand(ROWS), "num_tokens": torch.ones(ROWS)},
    ),
}
# They need a network with goals of its own: tests/eval/retrieval, test_zero_shot.py and test_knn.py.
ELSEWHERE = {"retrieval", "zero_shot", "knn"}
BUILT_IN = [
    name for name in EVALUATORS.names() if EVALUATORS.target(name).startswith("mplug2.")
]


def record(number: int, **more: Any) -> dict[str, Any]:
    return {
        "question_id": number,
        "question": "?",
        "answers": ["1"],
        "box": [0.0, 0.0, 1.0, 1.0],
        **more,
    }


def build(name: str, *metrics: Any) -> Evaluator:
    settings = EvaluationSpec("", "data", "test", None, "predict", name, ())
    supplied = {"net": nn.Linear(1, 1), "decode": str, "detailed": True}
    return build_evaluator(settings, metrics or _metrics(name), **supplied)


def _metrics(name: str) -> tuple[Any, ...]:
    metric = CASES[name][0]
    return (load_metric(metric),) if metric else ()


def fed(name: str, records: Sequence[dict[str, Any]]) -> Evaluator:
    evaluator = build(name)
    torch.manual_seed(0)
    (goal,) = evaluator.goals
    evaluator.update(GoalOutputs(goal, CASES[name][1]()), records)
    return evaluator


def test_every_evaluator_has_its_case() -> None:
    assert set(BUILT_IN) == {*CASES, *ELSEWHERE}


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_declaration_read_from_source_is_the_live_one(name: str) -> None:
    read, live = EVALUATORS.declaration(name), Declaration.of(EVALUATORS.load(name))
    assert read.inputs == live.inputs
    # Metrics of classes choose `classification`: prompts and neighbors must be asked for by name.
    assert read.inputs or name in ("zero_shot", "knn")
    assert list(read.arguments) == list(live.arguments)
    assert len(read.doc) > 10


@pytest.mark.parametrize(
    "name", [name for name in BUILT_IN if EVALUATORS.declaration(name).inputs]
)
def test_no_two_evaluators_are_the_default_for_the_same_kinds(name: str) -> None:
    def kinds(other: str) -> list[str]:
        return sorted(
            port.kind
            for port in EVALUATORS.declaration(other).inputs.values()
            if not port.optional
        )

    assert [other for other in BUILT_IN if kinds(other) == kinds(name)] == [name]


@pytest.mark.parametrize("name", CASES)
def test_a_row_for_each_record_with_its_fields_and_padding(name: str) -> None:
    records = [record(7, type="a"), record(8), record(7, padding=True)]
    before = [dict(one) for one in records]
    values, rows = fed(name, records).compute()
    assert records == before, "records are not changed"
    assert values == {}
    assert len(rows) == ROWS
    for row, one in zip(rows, records, strict=True):
        assert one.items() <= row.items()
        assert row.keys() > one.keys()


@pytest.mark.parametrize("name", CASES)
def test_rows_can_be_written_as_json(name: str) -> None:
    evaluator = fed(name, [record(number) for number in range(ROWS)])
    rows = without_fields(evaluator.compute()[1], getattr(evaluator, "unwritten", ()))
    assert [finite(row) for row in rows] == rows
    assert all(json_line(row) for row in rows)


@pytest.mark.parametrize("name", CASES)
def test_batches_add_up_and_no_batch_is_no_row(name: str) -> None:
    evaluator = fed(name, [record(number) for number in range(ROWS)])
    (goal,) = evaluator.goals
    evaluator.update(
        GoalOutputs(goal, CASES[name][1]()),
        [record(10 + number) for number in range(ROWS)],
    )
    assert [row["question_id"] for row in evaluator.compute()[1]] == [
        0,
        1,
        2,
        10,
        11,
        12,
    ]
    assert build(name).compute() == ({}, [])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("count", [ROWS - 1, ROWS + 1])
def test_more_or_fewer_rows_than_records_are_an_error(name: str, count: int) -> None:
    with pytest.raises((ValueError, UserError), match=r"row per record|for each of"):
        fed(name, [record(number) for number in range(count)])


@pytest.mark.parametrize("name", CASES)
def test_an_output_of_another_form_is_named(name: str) -> None:
    evaluator = build(name)
    outputs = dict.fromkeys(CASES[name][1](), "a text")
    with pytest.raises(UserError, match="str"):
        evaluator.update(
            GoalOutputs("predict", outputs), [record(number) for number in range(ROWS)]
        )
