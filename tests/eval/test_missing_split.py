"""An evaluation of a split that its source lacks: the message names the splits, and how to measure one."""

from __future__ import annotations

import pytest

import mplug2  # noqa: F401  (fills the registries)
from mplug2.eval.run import chosen_evaluations, eval_loader
from registry import SpecError, parse_spec

SPEC = """\
inputs: {label: labels B}
goals: {}
data: {task: text_class, train: {path: a.jsonl}SPLITS}
eval: EVAL
"""
VAL = ", val: {path: b.jsonl}"


@pytest.mark.parametrize(
    ("splits", "settings", "position", "message", "hint"),
    [
        (
            VAL,
            "{metrics: [label_accuracy]}",
            "4:1",
            "eval measures the split 'test', but the splits of 'data' are train, val",
            "add it to `data`, or measure another: `eval: {split: val}`, or `--split val`",
        ),
        (
            VAL,
            "{hard: {metrics: [label_accuracy]}}",
            "4:8",
            "eval.hard measures the split 'test', but the splits of 'data' are train, val",
            "add it to `data`, or measure another: `eval: {hard: {split: val}}`, or `--split val`",
        ),
        (
            "",
            "{metrics: [label_accuracy]}",
            "4:1",
            "eval measures the split 'test', but the splits of 'data' are train",
            "add it to `data`, or measure another: `eval: {split: train}`, or `--split train`",
        ),
    ],
)
def test_the_message_names_what_can_be_measured(
    splits: str, settings: str, position: str, message: str, hint: str
) -> None:
    spec = parse_spec(
        SPEC.replace("SPLITS", splits).replace("EVAL", settings), "x.yaml"
    )
    (evaluation,) = chosen_evaluations(spec)
    with pytest.raises(SpecError) as caught:
        eval_loader(spec, {}, evaluation, evaluation.split)
    (problem,) = caught.value.problems
    assert (str(problem.place), problem.message, problem.hint) == (
        f"x.yaml:{position}",
        message,
        hint,
    )
