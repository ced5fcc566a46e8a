"""One contract for every registered metric: what evaluations, and so every plug-in, rely on."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

import mplug2  # noqa: F401  (fills the registries)
from mplug2.metrics.metric import (
    ResultTable,
    load_metric,
    metric,
    needed_fields,
    score_rows,
)
from registry import METRICS, Declaration, Registry, UserError

# What rows hold by the kind of output that a metric measures. Meteor needs Java: tests/metrics/caption.
TEXT = {
    "prediction": "a red ball",
    "answers": ["a red ball"],
    "references": ["a red ball", "a ball"],
}
OTHER = {
    "prediction": "two dogs",
    "answers": ["one dog"],
    "references": ["one dog"],
    "type": "number",
}
CLASSES = {"classes": ["a red ball", "two dogs"], "probabilities": np.array([0.7, 0.3])}
RETRIEVED = {"query": "vision", "rank": 3, "similarity_rank": 1}
ROWS: dict[str, list[dict[str, Any]]] = {
    "sequences": [TEXT, OTHER, OTHER | {"bad": "no frames"}],
    "logits": [TEXT | CLASSES, OTHER | CLASSES],
    "scores": [{"prediction": 0.5, "value": 1.0}, {"prediction": 2.0, "value": 3.0}],
    "boxes": [
        {"prediction": [0.0, 0.0, 0.5, 0.5], "box": [0.0, 0.0, 0.5, 0.4]},
        {"prediction": [0.5, 0.5, 1.0, 1.0], "box": [0.0, 0.0, 0.2, 0.2]},
    ],
    "vector": [RETRIEVED, {"query": "text", "rank": None, "similarity_rank": 2}],
    "weight": [
        {"loss_sum": 3.0, "num_tokens": 2.0, "num_correct": 1.0, "num_bytes": 9},
        {"loss_sum": 1.0, "num_tokens": 5.0, "num_correct": 5.0, "num_bytes": 6},
    ],
}
# Metrics whose rows are unlike those of others that measure the same kind.
ROWS_BY_NAME: dict[str, list[dict[str, Any]]] = {
    "patch_auc": [
        {"prediction": [0.9, 0.2, 0.4], "patches": [1, 0, 1]},
        {"prediction": [0.1, 0.2, 0.4], "patches": [0, 1, 0]},
    ],
}
NAMES = [name for name in METRICS.names() if name != "meteor"]


def rows_of(name: str) -> list[dict[str, Any]]:
    kind = next(iter(METRICS.declaration(name).inputs.values())).kind
    rows = ROWS_BY_NAME.get(name, ROWS.get(kind, []))
    return [
        {"question": "what is it?", "question_id": number, **row}
        for number, row in enumerate(rows)
    ]


@pytest.mark.parametrize("name", METRICS.names())
def test_the_declaration_read_from_source_is_the_live_one(name: str) -> None:
    read, live = METRICS.declaration(name), Declaration.of(METRICS.load(name))
    assert (read.inputs, read.outputs) == (live.inputs, live.outputs)
    assert len(read.doc) > 10


@pytest.mark.parametrize("name", NAMES)
def test_values_are_numbers_with_declared_names(name: str) -> None:
    one = load_metric(name)
    rows = rows_of(name)
    score_rows([one], rows)
    values = one.compute(rows)
    declared = METRICS.declaration(name).outputs
    assert set(values) <= set(declared)
    assert {key for key, port in declared.items() if not port.optional} <= set(values)
    assert all(
        isinstance(value, float) and not math.isnan(value) for value in values.values()
    )
    assert set(getattr(one, "smaller_is_better", ())) <= set(declared)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_rows_does_not_matter(name: str) -> None:
    one, rows = load_metric(name), rows_of(name)
    score_rows([one], rows)
    shuffled = random.Random(0).sample(rows, len(rows))
    assert one.compute(shuffled) == pytest.approx(dict(one.compute(rows)))


@pytest.mark.parametrize("name", NAMES)
def test_scoring_adds_fields_and_changes_none(name: str) -> None:
    one, rows = load_metric(name), rows_of(name)
    before = [dict(row) for row in rows]
    score_rows([one], rows)
    assert all(
        old.items() <= row.items() for old, row in zip(before, rows, strict=True)
    )


@pytest.mark.parametrize("name", NAMES)
def test_tables_are_complete(name: str) -> None:
    one, rows = load_metric(name), rows_of(name)
    score_rows([one], rows)
    values = one.compute(rows)
    for table in getattr(one, "tables", lambda *_: [])(values, rows, lambda: None):
        assert isinstance(table, ResultTable)
        assert table.rows
        assert (
            {len(row) for row in table.rows}
            == {len(table.columns)}
            == {len(table.formats)}
        )
        assert set(table.values) <= set(values)
        for row in table.rows:
            assert all(
                format(cell, form)
                for cell, form in zip(row, table.formats, strict=True)
            )


def test_a_function_is_a_metric() -> None:
    metrics = Registry("metric", requires=METRICS.requires)

    @metrics.register("length")
    @metric(
        inputs={"answer": "sequences B n"},
        outputs={"length": "scalar"},
        needs=["tokens"],
    )
    def length(rows: Any) -> dict[str, float]:
        """The mean length of predictions."""
        return {"length": sum(len(row["prediction"]) for row in rows) / len(rows)}

    assert metrics.declaration("length").doc == "The mean length of predictions."
    assert length([{"prediction": "ab"}]) == {"length": 2.0}
    assert needed_fields([length]) == {"tokens"}  # type: ignore[list-item]


def test_what_is_no_metric_is_refused_at_registration() -> None:
    metrics = Registry("metric", requires=METRICS.requires)
    with pytest.raises(
        UserError,
        match="must have inputs, outputs, compute, but lacks inputs, outputs, com",
    ):
        metrics.register("bare")(lambda rows: {"bare": 0.0})
