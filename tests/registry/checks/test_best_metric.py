"""`train.best_metric` is compared with the values that evaluations declare, before anything is trained."""

from __future__ import annotations

from typing import Any

import pytest

import mplug2  # noqa: F401  (registers tasks, modules and operations)
from registry import EVALUATORS, METRICS, check, parse_spec

SPEC = """\
inputs: {text: text B L, label: labels B}
modules: {emb: {use: text_embedding, width: 4, vocab_size: 9}, head: {use: class_head, width: 4, classes: 2}}
flow:
  embeddings: emb(text)
  logits: head(embeddings)
  loss: cross_entropy(logits, target=label)
goals: {train: {loss: loss}, predict: {label: logits}}
data: {task: text_class, labels: [a, b], tokenizer: vocab.txt, train: {path: a.jsonl}, val: {path: b.jsonl}}
eval: EVAL
train: {best_metric: CHOSEN}
"""


class Open:
    """An evaluator that does not declare its values."""

    def __init__(self, *, settings: Any) -> None:
        self.settings = settings

    @property
    def goals(self) -> tuple[str, ...]:
        return (self.settings.goal,)

    def update(self, outputs: Any, records: Any) -> None: ...

    def compute(self) -> Any: ...


class Declared(Open):
    """An evaluator that declares its values."""

    outputs = {"sure": "scalar", "hits": "scalar"}


class Silent:
    """A metric that does not declare its values."""

    inputs = {"label": "logits B classes"}
    outputs: dict[str, str] = {}

    def compute(self, rows: Any) -> dict[str, float]:
        return {}


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for table in (EVALUATORS, METRICS):
        monkeypatch.setattr(table, "_entries", dict(table._entries))
    EVALUATORS.register("open")(Open)
    EVALUATORS.register("declared")(Declared)
    METRICS.register("silent")(Silent)


def problems(settings: str, chosen: str) -> list[tuple[str, str, str]]:
    """Return (position, what may be chosen, hint) of each problem."""
    text = SPEC.replace("EVAL", settings).replace("CHOSEN", chosen)
    found = []
    for one in check(parse_spec(text, "x.yaml")).problems:
        prefix, _, rest = one.message.partition(" must be one of ")
        assert prefix == "train.best_metric"
        assert rest.endswith(f", but is '{chosen}'")
        choices = rest.removesuffix(f", but is '{chosen}'")
        found.append((f"{one.place.line}:{one.place.column}", choices, one.hint))
    return found


@pytest.mark.parametrize(
    ("settings", "chosen", "choices", "hint"),
    [
        ("{evaluator: declared}", "shure", "sure, hits", "did you mean 'sure'?"),
        ("{evaluator: declared}", "declared/sure", "sure, hits", ""),
        (
            "{a: {evaluator: declared}, b: {metrics: [label_accuracy]}}",
            "sure",
            "a/sure, a/hits, b/label_accuracy",
            "did you mean 'a/sure'?",
        ),
        (
            "{a: {evaluator: open}, b: {metrics: [label_accuracy]}}",
            "label_accuracy",
            "b/label_accuracy, a/...",
            "did you mean 'a/label_accuracy'?",
        ),
        (
            "{evaluator: classification, metrics: [label_accuracy]}",
            "accuracy",
            "label_accuracy",
            "",
        ),
    ],
)
def test_a_value_that_nothing_reports_is_located(
    settings: str, chosen: str, choices: str, hint: str
) -> None:
    assert problems(settings, chosen) == [("10:22", choices, hint)]


@pytest.mark.parametrize(
    ("settings", "chosen"),
    [
        ("{evaluator: declared}", "hits"),
        ("{evaluator: declared, metrics: [label_accuracy]}", "label_accuracy"),
        ("{a: {evaluator: open}}", "a/anything"),
        ("{evaluator: open, metrics: [label_accuracy]}", "anything"),
        ("{metrics: [silent]}", "anything"),
    ],
)
def test_what_an_evaluation_may_report_is_accepted(settings: str, chosen: str) -> None:
    assert problems(settings, chosen) == []
