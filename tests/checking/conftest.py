"""A small spec of text alone with its files, in a folder of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SPEC = """\
inputs: {text: text B L, label: labels B}
modules:
  words: {use: text_embedding, width: 8, vocab_size: 12, max_positions: 16, dropout: 0.0}
  head: {use: class_head, width: 8, classes: 3, dropout: 0.0}
flow:
  x: words(text)
  logits: head(x)
  loss: cross_entropy(logits, target=label)
goals: {train: {loss: loss}, predict: {label: logits}}
data:
  task: text_class
  labels: [low, middle, high]
  template: '[CLS] {sentence}'
  text_tokens: 16
  tokenizer: vocab.txt
  workers: 0
  train: {path: train.jsonl}
  val: {path: val.jsonl}
train: {max_steps: 2, batch_size: 4, engine: torch, loggers: [jsonl], best_metric: label_accuracy, warmup: 0}
eval: {metrics: [label_accuracy], split: val}
"""
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "one", "two", "three"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with `spec.yaml` and all files that it names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "vocab.txt").write_text("\n".join(TOKENS) + "\n")
    rows = []
    for number, (text, label) in enumerate(
        (("one", "low"), ("two", "middle"), ("three", "high")) * 3
    ):
        rows.append(json.dumps({"sentence": f"{text} {number}", "label": label}))
    for split in ("train", "val"):
        (tmp_path / f"{split}.jsonl").write_text("\n".join(rows) + "\n")
    return tmp_path
