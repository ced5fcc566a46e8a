"""The arguments of evaluators: what check says of those that are missing, unknown or of a wrong type."""

from __future__ import annotations

from typing import Any

import pytest

import mplug2  # noqa: F401  (registers tasks, modules and operations)
from registry import EVALUATORS, SpecError, check, parse_spec, write_spec
from registry.training import training_plan

GOOD = """\
inputs: {label: labels B, text: text B L}
modules: {emb: {use: text_embedding, width: 4, vocab_size: 9}, head: {use: class_head, width: 4, classes: 3}}
flow:
  embeddings: emb(text)
  logits: head(embeddings)
  loss: cross_entropy(logits, target=label)
goals: {train: {loss: loss}, predict: {label: logits}}
eval: EVAL
"""


class Sure:
    """An evaluator of another package, with a required argument."""

    def __init__(
        self,
        *,
        settings: Any,
        threshold: float,
        output: str = "label",
        limits: dict[str, float] | None = None,
    ) -> None:
        self.settings = settings

    @property
    def goals(self) -> tuple[str, ...]:
        return (self.settings.goal,)

    def update(self, outputs: Any, records: Any) -> None: ...

    def compute(self) -> Any: ...


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EVALUATORS, "_entries", dict(EVALUATORS._entries))
    EVALUATORS.register("sure")(Sure)


def messages(settings: str) -> list[tuple[str, str, str]]:
    """Return (line:column, message, hint) of every problem with these settings of `eval`."""
    spec = parse_spec(GOOD.replace("EVAL", settings), "x.yaml")
    problems = check(spec).problems
    return [
        (f"{one.place.line}:{one.place.column}", one.message, one.hint)
        for one in problems
    ]


MISSING = "must set 'threshold' of evaluator 'sure', but does not"
WRONG_TYPE = "argument 'threshold' of evaluator 'sure' must be float, but is 'high'"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            "{evaluator: sure}",
            ("8:19", f"eval {MISSING}", "add `threshold: ...` (float)"),
        ),
        (
            "{a: {evaluator: sure}}",
            ("8:23", f"eval.a {MISSING}", "add `threshold: ...` (float)"),
        ),
        (
            "{evaluator: sure, threshold: }",
            ("8:19", f"eval {MISSING}", "add `threshold: ...` (float)"),
        ),
        ("{evaluator: sure, threshold: high}", ("8:36", WRONG_TYPE, "")),
        ("{a: {evaluator: sure, threshold: high}}", ("8:40", WRONG_TYPE, "")),
        (
            "{evaluator: sure, threshold: high, a: {}, b: {threshold: 1}}",
            ("8:36", WRONG_TYPE, ""),
        ),
        (
            "{evaluator: sure, treshold: 0.5}",
            ("8:25", "unknown key of 'eval': 'treshold'", "did you mean 'threshold'?"),
        ),
        (
            "{a: {evaluator: sure, treshold: 0.5}}",
            (
                "8:29",
                "unknown key of 'eval.a': 'treshold'",
                "did you mean 'threshold'?",
            ),
        ),
        (
            "{metrics: [label_accuracy], threshold: 0.5}",
            (
                "8:35",
                "unknown key of 'eval': 'threshold'",
                "name the evaluator that has this argument: `eval: {evaluator: ..., threshold: ...}`",
            ),
        ),
        (
            "{evaluator: sure, threshold: 0.5, limits: {low: 0.1}}",
            (
                "8:41",
                "'eval.limits' is a named evaluation, since it is a mapping",
                "as an argument of 'sure': `eval: {NAME: {evaluator: sure, limits: ...}}`",
            ),
        ),
    ],
)
def test_a_wrong_argument_is_located(
    settings: str, expected: tuple[str, str, str]
) -> None:
    assert messages(settings) == [expected]


@pytest.mark.parametrize(
    "settings",
    [
        "{evaluator: sure, threshold: 0.5, output: logits}",
        "{evaluator: sure, threshold: 0.5, a: {}, b: {threshold: 1}}",
        "{evaluator: sure, threshold: 0.5, a: {evaluator: classification, metrics: [label_accuracy]}, b: {}}",
        "{a: {evaluator: sure, threshold: 0.5, limits: {low: 0.1}}}",
    ],
)
def test_arguments_that_fit(settings: str) -> None:
    assert messages(settings) == []


def test_the_short_form_hands_arguments_to_the_evaluator() -> None:
    spec = parse_spec(
        GOOD.replace("EVAL", "{evaluator: sure, threshold: 0.5}"), "x.yaml"
    )
    (evaluation,) = training_plan(spec).evaluations
    assert evaluation.arguments["threshold"] == 0.5
    again = parse_spec(write_spec(spec), "again.yaml")
    assert training_plan(again).evaluations[0].arguments["threshold"] == 0.5
    assert not check(again).problems


def test_another_evaluator_does_not_get_the_arguments_of_the_shared_one() -> None:
    settings = "{evaluator: sure, threshold: 0.5, a: {evaluator: classification}, b: {output: logits}}"
    spec = parse_spec(GOOD.replace("EVAL", settings), "x.yaml")
    first, second = training_plan(spec).evaluations
    assert "threshold" not in first.arguments
    assert (second.arguments["threshold"], second.arguments["output"]) == (
        0.5,
        "logits",
    )


def test_an_evaluation_knows_its_place() -> None:
    spec = parse_spec(
        GOOD.replace("EVAL", "{evaluator: sure, threshold: 0.5, a: {}}"), "x.yaml"
    )
    (evaluation,) = training_plan(spec).evaluations
    assert (evaluation.place.line, evaluation.place.column) == (8, 41)


def test_an_evaluator_that_cannot_be_read_is_a_located_problem() -> None:
    EVALUATORS.register("broken", "mplug2.no_such_file:Broken")
    with pytest.raises(SpecError, match=r"^x.yaml:8:19: .*no_such_file"):
        check(
            parse_spec(GOOD.replace("EVAL", "{evaluator: broken}"), "x.yaml")
        ).raise_if_bad()
