"""A tokenizer needs room in the modules that its texts reach, and in no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from mplug2.data.vocabularies import load_tokenizer
from registry import Spec, SpecError, parse_spec

SPEC = """\
inputs: {text: text B L, label: labels B}
modules:
  small: {use: text_embedding, width: 8, vocab_size: 6, dropout: 0.0, max_positions: 32}
  large: {use: text_embedding, width: 8, vocab_size: 9, dropout: 0.0, max_positions: 32}
  head: {use: class_head, width: 8, classes: 2, dropout: 0.0}
flow:
  x: small(text)
  y: large(text)
  x_loss: cross_entropy(x_logits, target=label)
  x_logits: head(x)
  y_logits: head(y)
  y_loss: cross_entropy(y_logits, target=label)
goals: {first: {loss: x_loss}, second: {loss: y_loss}, predict: {label: y_logits}}
data:
  tokenizer: nine.txt
  template: '[CLS] {text}'
  sources:
    a: {task: text_class, labels: [no, yes], tokenizer: six.txt, train: {path: a.tsv}}
    b: {task: text_class, labels: [no, yes], train: {path: b.tsv}}
  batches: {a: {source: a, goal: first}, b: {source: b, goal: second}}
train: {max_steps: 2, iteration: [{all: [a, b]}], batch_size: {a: 2, b: 2}, engine: torch}
"""
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue", "tall", "low"]


@pytest.fixture(autouse=True)
def vocabularies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("six.txt").write_text("\n".join(TOKENS[:6]) + "\n")
    Path("nine.txt").write_text("\n".join(TOKENS) + "\n")


def refused(spec: Spec, tokenizer: str) -> list[str]:
    """Return why a tokenizer cannot be used."""
    try:
        load_tokenizer(spec, tokenizer)
    except SpecError as error:
        return [problem.message for problem in error.problems]
    return []


def test_each_tokenizer_needs_room_in_its_own_modules_alone() -> None:
    spec = parse_spec(SPEC)
    assert refused(spec, "six.txt") == refused(spec, "nine.txt") == []


def test_a_module_of_the_second_tokenizer_is_too_small() -> None:
    spec = parse_spec(SPEC.replace("vocab_size: 9", "vocab_size: 8"))
    assert refused(spec, "six.txt") == []
    assert refused(spec, "nine.txt") == [
        "vocab_size of 'large' must be at least 9, the tokens of nine.txt, but is 8"
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("goal: first", "goal: second"),  # the goal of a batch
        (", b: {source: b, goal: second}}", "}"),  # a goal that only `predict` can use
    ],
)
def test_a_module_that_two_tokenizers_reach_is_too_small(old: str, new: str) -> None:
    spec = parse_spec(SPEC.replace(old, new).replace("vocab_size: 9", "vocab_size: 5"))
    assert (
        "vocab_size of 'large' must be at least 6, the tokens of six.txt, but is 5"
        in refused(spec, "six.txt")
    )


def test_one_tokenizer_alone_needs_room_in_every_module() -> None:
    spec = parse_spec(SPEC.replace("tokenizer: six.txt, ", ""))
    assert refused(spec, "nine.txt") == [
        "vocab_size of 'small' must be at least 9, the tokens of nine.txt, but is 6"
    ]
