"""The best value: NaN never becomes it and never stays it, and metrics say which direction is better."""

from __future__ import annotations

import math

import pytest

import mplug2  # noqa: F401  (fills the registries)
from mplug2.eval.best import default_value, is_better, smaller_is_better
from registry.evaluations import EvaluationSpec


def evaluation(
    name: str, *metrics: str, evaluator: str | None = None
) -> EvaluationSpec:
    return EvaluationSpec(name, "data", "val", "val", "predict", evaluator, metrics)


def best_of(values: list[float], *, smaller: bool = False) -> float | None:
    best: float | None = None
    for value in values:
        if is_better(value, best, smaller_is_better=smaller):
            best = value
    return best


def test_nan_is_never_the_best() -> None:
    assert best_of([math.nan, 0.9, math.nan]) == 0.9
    assert best_of([0.2, math.nan, 0.1]) == 0.2
    assert best_of([math.nan]) is None
    assert is_better(0.1, math.nan), "a best value of an older checkpoint may be NaN"


@pytest.mark.parametrize(("smaller", "expected"), [(False, 3.0), (True, 1.0)])
def test_the_direction(smaller: bool, expected: float) -> None:
    assert best_of([2.0, 1.0, math.nan, 3.0], smaller=smaller) == expected
    assert not is_better(2.0, 2.0, smaller_is_better=smaller), (
        "the first of equal ones stays"
    )


def test_metrics_declare_their_direction() -> None:
    evaluations = [evaluation("text", "perplexity"), evaluation("qa", "accuracy")]
    assert smaller_is_better(evaluations) == {"text/perplexity", "text/token_loss"}
    assert smaller_is_better([evaluation("", "recall")]) == frozenset()


def test_the_first_value_of_the_first_evaluation_selects() -> None:
    assert (
        default_value([evaluation("qa", "iou"), evaluation("b", "recall")])
        == "qa/iou_accuracy"
    )
    assert default_value([evaluation("", "perplexity")]) == "perplexity"
