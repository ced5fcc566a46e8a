"""Splits may have any name that a batch or an evaluation reads; a misspelt one is an error with a hint."""

from __future__ import annotations

import pytest

import mplug2  # noqa: F401  (registers tasks, modules and operations)
from registry import check, parse_spec, write_spec
from registry.training import training_plan

NETWORK = """
inputs: {text: text B L, label: labels B}
modules:
  words: {use: text_embedding, width: 32, vocab_size: 100}
  encoder: {use: text_encoder, width: 32, depth: 1, heads: 2}
  head: {use: class_head, width: 32, classes: 3}
flow:
  embeds: words(text)
  hidden: encoder(embeds)
  logits: head(hidden)
  loss: cross_entropy(logits, target=label)
goals: {train: {loss: loss}, predict: {label: logits}}
"""
LONG = (
    NETWORK
    + """
data:
  tokenizer: vocab.txt
  task: text_class
  labels: {'0': entailment, '1': neutral, '2': contradiction}
  batch_size: {tokens: 4096}
  sources:
    mnli:
      train: {path: train.tsv}
      matched: {path: dev_matched.tsv}
      mismatched: {path: dev_mismatched.tsv}
  batches: {train: {source: mnli}}
train: {micro_batch: {tokens: 512}, best_metric: matched/label_accuracy}
eval:
  metrics: [label_accuracy]
  matched: {split: matched}
  mismatched: {split: mismatched}
"""
)
SHORT = (
    NETWORK
    + """
data:
  tokenizer: vocab.txt
  task: text_class
  labels: [entailment, neutral, contradiction]
  train: {path: train.tsv}
  matched: {path: dev_matched.tsv}
eval: {metrics: [label_accuracy], matched: {split: matched}}
"""
)


@pytest.mark.parametrize("text", [LONG, SHORT], ids=["long", "short"])
def test_splits_have_the_names_that_evaluations_read(text: str) -> None:
    spec = parse_spec(text)
    assert check(spec).problems == []
    resolved = parse_spec(write_spec(spec))
    assert check(resolved).problems == []
    plan = training_plan(resolved)
    (source,) = plan.sources.values()
    assert list(source.splits)[:2] == ["train", "matched"]
    assert plan.evaluations[0].train_split == "matched"


def test_the_short_form_measures_one_free_split() -> None:
    text = SHORT.replace("matched: {split: matched}}", "split: matched}")
    assert check(parse_spec(text)).problems == []
    (evaluation,) = training_plan(parse_spec(text)).evaluations
    assert evaluation.split == "matched"


MISTAKES = [
    (
        SHORT,
        "  train: {path: train.tsv}",
        "  trian: {path: train.tsv}",
        "no batch and no evaluation reads the split 'trian' of 'data'",
        "did you mean 'train'?",
    ),
    (
        SHORT,
        "  labels: [entailment, neutral, contradiction]",
        "  labls: {a: b, c: d}",
        "no batch and no evaluation reads the split 'labls' of 'data'",
        "did you mean 'labels'?",
    ),
    (
        SHORT,
        "  matched: {path: dev_matched.tsv}",
        "  matched: {path: dev_matched.tsv}\n  held_out_pairs: {path: more.tsv}",
        "no batch and no evaluation reads the split 'held_out_pairs' of 'data'",
        "`eval: {held_out_pairs: {split: held_out_pairs}}`",
    ),
    (
        LONG,
        "      mismatched: {path",
        "      mismatchd: {path",
        "no batch and no evaluation reads the split 'mismatchd' of source 'mnli'",
        "did you mean 'mismatched'?",
    ),
    (
        LONG,
        "  mismatched: {split: mismatched}",
        "  mismatched: {split: val}",
        "source 'mnli' of evaluation 'mismatched' has no split 'val'",
        None,
    ),
    (
        LONG,
        "  tokenizer: vocab.txt",
        "  val: {path: dev.tsv}",
        "with 'data.sources', the split 'val' must be part of a source",
        "`sources: {NAME: {val: ...}}`",
    ),
]


@pytest.mark.parametrize(("text", "old", "new", "message", "hint"), MISTAKES)
def test_a_split_that_nothing_reads_is_located(
    text: str, old: str, new: str, message: str, hint: str | None
) -> None:
    assert text.count(old) == 1
    wrong = text.replace(old, new)
    problems = check(parse_spec(wrong)).problems
    found = [problem for problem in problems if problem.message == message]
    assert len(found) == 1, problems
    if hint is not None:
        assert found[0].hint == hint
    first_line = 1 + wrong[: wrong.index(new)].count("\n")
    assert first_line <= found[0].place.line <= first_line + new.count("\n")


def test_a_misspelt_reader_is_one_problem() -> None:
    text = SHORT.replace("matched: {split: matched}}", "split: mtched}")
    (problem,) = check(parse_spec(text)).problems
    assert (
        problem.message
        == "no batch and no evaluation reads the split 'matched' of 'data'"
    )
    assert problem.hint == "did you mean 'mtched'?"


@pytest.mark.parametrize(
    ("text", "old", "new", "key"),
    [
        (SHORT, "{split: matched}", "{split: [matched]}", "eval.matched.split"),
        (SHORT, "matched: {split: matched}}", "split: [matched]}", "eval.split"),
        (
            LONG,
            "mismatched: {split: mismatched}",
            "mismatched: {source: [mnli]}",
            "eval.mismatched.source",
        ),
    ],
)
def test_a_list_as_a_split_or_source_is_one_located_problem(
    text: str, old: str, new: str, key: str
) -> None:
    wrong = text.replace(old, new)
    assert wrong != text
    problems = [
        problem
        for problem in check(parse_spec(wrong)).problems
        if problem.message.startswith(f"'{key}'")
    ]
    (problem,) = problems
    line = wrong.splitlines()[problem.place.line - 1]
    assert line[problem.place.column - 1 :].startswith("[")


def test_an_evaluation_of_the_short_form_needs_its_split() -> None:
    text = SHORT.replace("  matched: {path: dev_matched.tsv}\n", "")
    text = text.replace("matched: {split: matched}}", "split: development}")
    (problem,) = check(parse_spec(text)).problems
    assert problem.message == "'data' has no split 'development'"
    assert problem.hint == "splits of 'data': train"
    line = text.splitlines()[problem.place.line - 1]
    assert line[problem.place.column - 1 :].startswith("development")
