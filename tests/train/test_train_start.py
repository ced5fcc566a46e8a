"""What `train` refuses before it builds the network or creates its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

import mplug2
from registry import SpecError

SPEC = """\
inputs: {{text: text B L, label: labels B}}
modules:
  words: {{use: text_embedding, width: 8, vocab_size: 30, max_positions: 32}}
  head: {{use: class_head, width: 8, classes: 2}}
flow:
  x: words(text)
  logits: head(x)
{more}
"""
DATA = "data: {task: text_class, labels: ['yes', 'no'], tokenizer: vocab.txt, train: {path: train.jsonl}}"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(spec: object, device: object) -> None:
        raise AssertionError(f"a network was built on {device}")

    monkeypatch.setattr("mplug2.build.compose._build", build)


def refused(tmp_path: Path, more: str) -> SpecError:
    """Return the error of `train` on a spec; nothing may be left behind."""
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.format(more=more))
    unused = [] if "label)" in more else ["inputs.label="]
    with pytest.raises(SpecError) as error:
        mplug2.train(spec, [f"train.output_dir={tmp_path / 'run'}", *unused])
    assert [path.name for path in tmp_path.iterdir()] == ["spec.yaml"]
    return error.value


@pytest.mark.usefixtures("no_network")
def test_a_spec_without_a_loss(tmp_path: Path) -> None:
    """Such a spec is valid, for prediction: `check` accepts it."""
    goals = (
        "  guess: head(x)\ngoals: {predict: {label: logits}, other: {label: guess}}\n"
    )
    (problem,) = refused(tmp_path, goals + DATA).problems
    assert problem.message == "this spec trains nothing: no goal has an output 'loss'"
    assert (problem.place.line, problem.place.column) == (9, 1)
    assert mplug2.check(
        mplug2.read_spec(tmp_path / "spec.yaml", ["inputs.label="])
    ).good


@pytest.mark.usefixtures("no_network")
def test_a_spec_without_data(tmp_path: Path) -> None:
    goals = "  loss: cross_entropy(logits, target=label)\ngoals: {train: {loss: loss}}"
    (problem,) = refused(tmp_path, goals).problems
    assert problem.message == "this spec trains nothing: it has no section 'data'"


@pytest.mark.usefixtures("no_network")
def test_select_without_an_evaluation(tmp_path: Path) -> None:
    goals = (
        "  loss: cross_entropy(logits, target=label)\ngoals: {train: {loss: loss}}\n"
    )
    select = "\ntrain: {best_metric: label_accuracy}"
    (problem,) = refused(tmp_path, goals + DATA + select).problems
    assert problem.message.startswith(
        "train.best_metric needs an evaluation on a validation split"
    )
    assert problem.place.line == 11
