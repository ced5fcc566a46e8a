"""What a metric declares is what it computes, and what `train.best_metric` may name."""

from __future__ import annotations

import pytest
from small_specs import ROOT

import mplug2  # noqa: F401  (fills the registries)
from mplug2.eval.best import selected_value
from mplug2.metrics.metric import load_metric
from registry import METRICS, check, read_spec
from registry.training import training_plan

GROUNDING = ROOT / "configs_image" / "grounding_shapes_tiny.yaml"


@pytest.mark.parametrize("name", [name for name in METRICS.names() if name != "meteor"])
def test_values_of_no_rows_are_those_declared_the_main_one_first(name: str) -> None:
    declared = METRICS.declaration(name).outputs
    always = [value for value, port in declared.items() if not port.optional]
    assert list(load_metric(name).compute([])) == always
    assert all(port.kind == "scalar" for port in declared.values())


def test_what_a_split_may_lack_is_declared_too() -> None:
    ranked = [
        {"query": query, "rank": 1, "similarity_rank": 2}
        for query in ("vision", "text")
    ]
    assert list(METRICS.load("recall")().compute(ranked)) == list(
        METRICS.declaration("recall").outputs
    )
    votes = [{"vqa_score": 1.0, "type": kind} for kind in ("yes/no", "number", "other")]
    found = METRICS.load("vqa_accuracy")().compute(votes)
    assert set(found) == set(METRICS.declaration("vqa_accuracy").outputs)


@pytest.mark.parametrize(
    ("name", "chosen", "hint"),
    [
        ("grounding", "iou", ""),
        ("retrieval", "recal", "did you mean 'recall'?"),
        ("vqa", "vqa_accuracy", ""),
    ],
)
def test_a_value_that_no_metric_gives_is_found_before_training(
    name: str, chosen: str, hint: str
) -> None:
    file = ROOT / "configs_image" / f"{name}_shapes_tiny.yaml"
    report = check(read_spec(file, overrides=[f"train.best_metric={chosen}"]))
    (problem,) = report.problems
    assert problem.message.startswith("train.best_metric must be one of ")
    assert problem.message.endswith(f"but is '{chosen}'")
    assert problem.hint.startswith(hint)
    assert str(problem.place).startswith(f"command line: train.best_metric={chosen}")


@pytest.mark.parametrize("chosen", ["mean_iou", "iou_accuracy", ""])
def test_the_first_value_of_the_first_metric_selects_unless_set(chosen: str) -> None:
    spec = read_spec(GROUNDING, overrides=[f"train.best_metric={chosen}"])
    assert not check(spec).problems
    assert selected_value(spec, training_plan(spec).evaluations) == (
        chosen or "iou_accuracy"
    )
