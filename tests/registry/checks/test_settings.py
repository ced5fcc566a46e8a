"""Settings out of their range, or of the wrong length."""

from __future__ import annotations

import pytest

from registry import Registries, check, parse_spec

HEAD = "inputs: {q: text B L}\ngoals: {out: {q: q}}\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train: {epochs: 0}", "'train.epochs' must be at least 1, but is 0"),
        ("momentum: {decay: 1.5}", "'momentum.decay' must be at most 1, but is 1.5"),
        ("momentum: {decay: -0.1}", "'momentum.decay' must be at least 0, but is -0.1"),
        ("train: {lr: -1e-4}", "'train.lr' must be at least 0, but is -0.0001"),
        ("train: {lr: {}}", "'train.lr' must hold a rate, but is empty"),
        ("train: {lr: {default: -1}}", "'train.lr' must be at least 0, but is -1"),
        ("train: {betas: [0.9, 1.0]}", "'train.betas' must be less than 1, but is 1"),
        (
            "train: {betas: [0.9]}",
            "'train.betas' must be tuple[float, float], but is [0.9]",
        ),
        (
            "train: {betas: [0.9, 0.99, 0.999]}",
            "'train.betas' must be tuple[float, float], but is ",
        ),
        (
            "train: {max_grad_norm: -1}",
            "'train.max_grad_norm' must be at least 0, but is -1",
        ),
        (
            "data: {kind: video_qa, path: a, media: b, max_bad_fraction: 2}",
            "'data.max_bad_fraction' must be at most 1, but is 2",
        ),
        (
            "data: {kind: video_qa, path: a, media: b, seed: -1}",
            "'data.seed' must be at least 0, but is -1",
        ),
        (
            "momentum: {decay: 1}\ntrain: {betas: [0, 0.999], max_grad_norm: 0, lr: 0}",
            "",
        ),
    ],
)
def test_ranges(line: str, message: str, names: Registries) -> None:
    found = [
        one.message
        for one in check(parse_spec(HEAD + line), names).problems
        if "reader" not in one.message
    ]
    assert [one[: len(message)] for one in found] == ([message] if message else [])


SELECT = """\
inputs: {{text: text B L, label: labels B}}
modules:
  words: {{use: text_embedding, width: 8, vocab_size: 30}}
  head: {{use: class_head, width: 8, classes: 2}}
flow:
  x: words(text)
  logits: head(x)
  loss: cross_entropy(logits, target=label)
goals: {{train: {{loss: loss}}, predict: {{label: logits}}}}
data:
  task: text_class
  labels: ['yes', 'no']
  tokenizer: vocab.txt
  train: {{path: train.jsonl}}
{more}
train: {{best_metric: label_accuracy}}
"""


def test_early_stop_needs_an_evaluation_during_training() -> None:
    import mplug2  # noqa: F401  (fills the registries)

    text = SELECT.format(more="  val: {path: val.jsonl}").replace(
        "best_metric: label_accuracy", "early_stop: 3"
    )
    messages = [problem.message for problem in check(parse_spec(text)).problems]
    assert messages == [
        "train.early_stop needs an evaluation on a validation split, but the spec has none"
    ]


@pytest.mark.parametrize(
    ("more", "refused"),
    [
        ("  val: {path: val.jsonl}\neval: {metrics: [label_accuracy]}", False),
        ("  val: {path: val.jsonl}", True),
        ("  test: {path: test.jsonl}\neval: {metrics: [label_accuracy]}", True),
    ],
)
def test_select_needs_an_evaluation_during_training(more: str, refused: bool) -> None:
    import mplug2  # noqa: F401  (fills the registries)

    problems = check(parse_spec(SELECT.format(more=more))).problems
    messages = [problem.message for problem in problems]
    if refused:
        assert messages == [
            "train.best_metric needs an evaluation on a validation split, but the spec has none"
        ]
        assert str(problems[0].place).startswith("spec.yaml:")
    else:
        assert messages == []
