"""Ties, nothing to measure, repeated rows and single rows: what docs/metrics.md defines for each metric."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_metric_contract import CLASSES, NAMES, TEXT, rows_of

from mplug2.eval.best import is_better
from mplug2.metrics.caption.bleu import bleu
from mplug2.metrics.caption.ngrams import ngrams
from mplug2.metrics.metric import load_metric, score_rows
from registry import METRICS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
NAN = math.nan


def compute(name: str, rows: list[dict[str, Any]]) -> dict[str, float]:
    loaded = load_metric(name)
    score_rows([loaded], rows)
    return dict(loaded.compute(rows))


def label(true: str | None, predicted: str, **more: Any) -> dict[str, Any]:
    return {
        **CLASSES,
        "answers": [] if true is None else [true],
        "prediction": predicted,
        **more,
    }


def ranked(true: str, *probabilities: float) -> dict[str, Any]:
    names = [str(number) for number in range(len(probabilities))]
    return {
        "answers": [true],
        "classes": names,
        "probabilities": np.array(probabilities),
    }


def caption(text: str, *references: str) -> dict[str, Any]:
    return {"prediction": text, "references": list(references)}


def box(*corners: float) -> dict[str, Any]:
    return {"prediction": list(corners), "box": [0.0, 0.0, 1.0, 1.0]}


def number(predicted: float, true: float) -> dict[str, Any]:
    return {"prediction": predicted, "value": true}


A, B = "a red ball", "two dogs"
# (metric, rows, value): the row of the metric in docs/metrics.md, in order
CASES: list[tuple[str, list[dict[str, Any]], dict[str, float]]] = [
    (
        "accuracy",
        [{"prediction": " Red ", "answers": ["blue", "red"]}],
        {"accuracy": 1.0},
    ),
    ("accuracy", [{"prediction": "red", "answers": []}], {"accuracy": NAN}),
    (
        "accuracy",
        [{"prediction": "red", "answers": ["red"], "bad": "x"}],
        {"accuracy": 0.0},
    ),
    ("label_accuracy", [label(A, A), label(None, A)], {"label_accuracy": 1.0}),
    ("label_f1", [label(A, A)], {"label_f1": 0.0}),
    ("label_f1", [label(B, B)], {"label_f1": 1.0}),
    ("label_macro_f1", [label(A, A), label(A, A)], {"label_macro_f1": 1.0}),
    ("label_macro_f1", [label(A, A), label(A, A, bad="x")], {"label_macro_f1": 2 / 3}),
    ("matthews", [label(A, A), label(A, B)], {"matthews": 0.0}),
    ("matthews", [label(A, A), label(B, A)], {"matthews": 0.0}),
    ("matthews", [label(A, A)], {"matthews": 0.0}),
    ("pearson", [number(1, 2)], {"pearson": NAN}),
    ("pearson", [number(1, 2), number(1, 3)], {"pearson": NAN}),
    (
        "spearman",
        [number(1, 1), number(1, 2), number(2, 3)],
        {"spearman": math.sqrt(3) / 2},
    ),
    ("spearman", [number(1, 2), number(2, 2)], {"spearman": NAN}),
    ("top_k", [ranked("1", 0.5, 0.5)], {"top1": 1.0, "top5": 1.0}),
    ("top_k", [ranked("0", 0.5, 0.5)], {"top1": 0.0, "top5": 1.0}),
    ("top_k", [ranked("0", 0.9, 0.1) | {"bad": "x"}], {"top1": 0.0, "top5": 0.0}),
    (
        "mean_class_accuracy",
        [label(A, A), label(A, A), label(A, B)],
        {"mean_class_accuracy": 2 / 3},
    ),
    (
        "mean_average_precision",
        [ranked("0", 0.5, 0.5)] * 2,
        {"mean_average_precision": 1.0},
    ),
    (
        "mean_average_precision",
        [
            ranked("0", 0.5, 0.5),
            ranked("1", 0.5, 0.5),
        ],  # one threshold, at which one of two is right
        {"mean_average_precision": 0.5},
    ),
    ("cider", [caption("a dog runs", "a dog runs")], {"cider": 0.0}),
    (
        "rouge_l",
        [caption("a dog", "a dog runs", "a cat")],
        {"rouge_l": 2.44 / (2 / 3 + 1.44) * 2 / 3},
    ),
    ("rouge_l", [caption("", "a dog runs")], {"rouge_l": 0.0}),
    ("exact_match", [caption("A dog runs.", "a dog runs")], {"exact_match": 1.0}),
    (
        "vqa_accuracy",
        [{"prediction": "2", "answers": ["two", "3"], "counts": [3, 7]}],
        {"vqa_accuracy": 0.9},
    ),
    ("vqa_accuracy", [{"prediction": "2", "answers": ["two"]}], {"vqa_accuracy": 0.0}),
    (
        "vqa_label_accuracy",
        [{"prediction": "two", "answers": ["two"]}],
        {"vqa_label_accuracy": 1.0},
    ),
    ("iou", [box(0.0, 0.0, 0.5, 1.0)], {"iou_accuracy": 1.0, "mean_iou": 0.5}),
    (
        "iou",
        [{"prediction": [0.5] * 4, "box": [0.5] * 4}],
        {"iou_accuracy": 0.0, "mean_iou": 0.0},
    ),
    (
        "perplexity",
        [{"loss_sum": 1e4, "num_tokens": 1.0}],
        {"perplexity": math.inf, "token_loss": 1e4},
    ),
    (
        "perplexity",
        [{"loss_sum": 0.0, "num_tokens": 0.0}],
        {"perplexity": NAN, "token_loss": NAN},
    ),
    ("bits_per_byte", [{"loss_sum": 1.0, "num_tokens": 1.0}], {"bits_per_byte": NAN}),
    ("token_accuracy", [{"loss_sum": 1.0, "num_tokens": 1.0}], {"token_accuracy": NAN}),
]


@pytest.mark.parametrize(("name", "rows", "expected"), CASES)
def test_ties_borders_and_single_rows(
    name: str, rows: list[dict[str, Any]], expected: dict[str, float]
) -> None:
    assert compute(name, [dict(row) for row in rows]) == pytest.approx(
        expected, nan_ok=True
    )


@pytest.mark.parametrize("name", NAMES)
def test_without_rows_every_value_is_nan(name: str) -> None:
    values = compute(name, [])
    assert values
    assert all(math.isnan(value) for value in values.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_value_stays_if_every_row_occurs_twice(name: str) -> None:
    once = compute(name, rows_of(name))
    twice = compute(name, rows_of(name) + rows_of(name))  # with the same ids
    assert twice == pytest.approx(once, nan_ok=True)


def test_one_item_has_no_document_frequencies_and_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        assert compute("cider", [dict(TEXT)]) == {"cider": 0.0}
    assert "it is always 0 for one item" in caplog.text
    caplog.clear()
    assert (
        compute("cider", [caption("a dog runs", "a dog runs"), caption("b", "c")])[
            "cider"
        ]
        > 0
    )
    assert not caplog.text


def test_the_shorter_of_two_equally_close_lengths_counts() -> None:
    lengths = [ngrams(list("abc")), ngrams(list("abcde"))]
    assert bleu([ngrams(list("abcd"))], [lengths])[0] == pytest.approx(
        1.0
    )  # without a penalty
    assert 0 < bleu([ngrams(["x"])], [lengths])[0] < 1e-9


@pytest.mark.parametrize("rank", [None, 11])
def test_a_query_that_finds_nothing_is_in_the_count(rank: int | None) -> None:
    rows = [
        {"query": "vision", "rank": 1},
        {"query": "vision", "rank": rank},
        {"query": "text", "rank": 1},
    ]
    values = compute("recall", rows)
    assert (values["tr_r1"], values["tr_r10"], values["ir_r1"]) == (0.5, 0.5, 1.0)


def test_of_equal_values_the_earlier_one_is_the_best() -> None:
    assert not is_better(0.5, 0.5, smaller_is_better=False)
    assert not is_better(NAN, None, smaller_is_better=False)


def test_the_page_has_every_metric() -> None:
    lines = PAGE.read_text(encoding="utf-8").split("\n")
    named = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert sorted(named) == sorted(METRICS.names())
