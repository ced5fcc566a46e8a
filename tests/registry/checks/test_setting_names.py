"""Keys of another section, and names of other training programs, get the right key as their hint."""

from __future__ import annotations

import pytest

import mplug2  # noqa: F401  (fills the registries)
from registry import SETTINGS, check, parse_spec
from registry.checks.setting_names import FOREIGN_NAMES

HEAD = "inputs: {q: text B L}\ngoals: {out: {q: q}}\n"
DATA = "data: {task: text_class, labels: ['yes', 'no'], tokenizer: v.txt, test: {path: x}, "


def test_every_name_leads_to_a_key_that_exists() -> None:
    for name, target in FOREIGN_NAMES.items():
        section, _, key = target.partition(".")
        assert key in SETTINGS[section]
        assert name not in SETTINGS[section]


@pytest.mark.parametrize(
    ("line", "column", "message", "hint"),
    [
        (
            "train: {metric_for_best_model: accuracy}",
            9,
            "unknown key of 'train': 'metric_for_best_model'",
            "it is called `best_metric` here: `train: {best_metric: ...}`",
        ),
        (
            "train: {workers: 4}",
            9,
            "unknown key of 'train': 'workers'",
            "'workers' is a key of 'data': `data: {workers: ...}`",
        ),
        (
            "eval: {learning_rate: 4}",
            8,
            "unknown key of 'eval': 'learning_rate'",
            "it is called `lr` here: `train: {lr: ...}`",
        ),
        (
            "train: {epoch: 4}",
            9,
            "unknown key of 'train': 'epoch'",
            "did you mean 'epochs'?",
        ),
        (
            "momentum: {decoy: 0.9}",
            12,
            "unknown key of 'momentum': 'decoy'",
            "did you mean 'decay'?",
        ),
        (
            DATA + "lr: 1e-4}",
            len(DATA) + 1,
            "unknown key of 'data' with task 'text_class': 'lr'",
            "'lr' is a key of 'train': `train: {lr: ...}`",
        ),
        (
            DATA + "num_workers: 2}",
            len(DATA) + 1,
            "unknown key of 'data' with task 'text_class': 'num_workers'",
            "it is called `workers` here: `data: {workers: ...}`",
        ),
    ],
)
def test_hints(line: str, column: int, message: str, hint: str) -> None:
    problems = check(parse_spec(HEAD + line)).problems
    found = [problem for problem in problems if problem.message == message]
    assert [(one.place.line, one.place.column, one.hint) for one in found] == [
        (3, column, hint)
    ], problems
