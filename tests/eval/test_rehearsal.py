"""Stage 5 of check tries every evaluation on a few samples: a failure has a place, absent data are a note."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mplug2  # noqa: F401  (fills the registries)
from mplug2.build.smoke import small_network
from mplug2.cli.checking import Request, check_specs
from mplug2.data.shapes.questions import vocabulary
from mplug2.eval.rehearsal import try_evaluations
from registry import EVALUATORS, Problem, read_spec

SPEC = """\
inputs: {text: text B L, label: labels B}
modules: {em: {use: text_embedding, vocab_size: 210, max_positions: 128}, head: {use: class_head, width: 8, classes: 2}}
flow:
  embeddings: em(text)
  logits: head(embeddings)
  loss: cross_entropy(logits, target=label)
goals: {train: {loss: loss}, predict: {label: logits}}
data:
  {task: text_class, labels: [bad, good], template: '[CLS] {sentence} [SEP]',
   tokenizer: vocab.txt, path: a.jsonl, train: {}, val: {}}
eval: {split: val, evaluator: counting}
"""


class Counting:
    """Counts rows; reads the output that `output` names."""

    batches: list[int] = []

    def __init__(self, *, settings: Any, output: str = "label") -> None:
        self.settings, self.output = settings, output
        self.rows: list[dict[str, Any]] = []

    @property
    def goals(self) -> tuple[str, ...]:
        return (self.settings.goal,)

    def update(self, outputs: Any, records: Any) -> None:
        self.batches.append(len(records))
        assert len(outputs[self.output]) == len(records)
        for record in records:
            self.rows.append(
                {**record, "prediction": record["classes"][0], "score": 1.0}
            )

    def compute(self) -> Any:
        return {"rows": len(self.rows)}, self.rows


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data of five samples and the spec; the evaluator is registered."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(EVALUATORS, "_entries", dict(EVALUATORS._entries))
    EVALUATORS.register("counting")(Counting)
    Counting.batches.clear()
    Path("vocab.txt").write_text("\n".join(vocabulary()))
    rows = [
        {"sentence": "red circle", "label": "good"},
        {"sentence": "blue", "label": "bad"},
    ] * 3
    Path("a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:5]))
    Path("x.yaml").write_text(SPEC)
    return tmp_path


def tried(
    *overrides: str, incomplete: bool = False
) -> tuple[list[Problem], list[Problem]]:
    spec = read_spec("x.yaml", overrides)
    return try_evaluations(spec, small_network(spec)[0], incomplete=incomplete)


def test_an_evaluation_runs_on_a_full_batch_and_a_single_sample() -> None:
    assert tried() == ([], [])
    assert Counting.batches == [2, 1]
    assert not list(Path().glob("**/*.safetensors")) and not Path("runs").exists()


def test_a_wrong_output_is_located() -> None:
    problems, notes = tried("eval.output=lable")
    (problem,) = problems
    assert str(problem.place) == "x.yaml:11:1" and notes == []
    assert problem.message.startswith(
        "evaluator 'counting' failed with KeyError: goal 'predict' has no output 'lable' (outputs: label)"
    )


def test_a_broken_metric_of_named_evaluations_has_the_place_of_its_evaluation() -> None:
    text = SPEC.replace(
        "eval: {split", "eval: {hard: {metrics: [label_accuracy], goal: predict, split"
    )
    Path("x.yaml").write_text(text.replace("counting}", "counting}}"))
    assert tried() == ([], [])
    Path("x.yaml").write_text(text.replace("counting}", "counting, output: lable}}"))
    ((problem,), _) = tried()
    assert str(problem.place) == "x.yaml:11:8"


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["data.val.path=none.jsonl"], "path 'none.jsonl' does not exist here"),
        (["data.val=", "eval.split=test"], "there is no split 'test'"),
    ],
)
def test_an_evaluation_without_data_is_a_note(
    overrides: list[str], reason: str
) -> None:
    problems, notes = tried(*overrides)
    assert problems == [] and Counting.batches == []
    assert [note.message for note in notes] == [f"the evaluation on samples: {reason}"]


def test_data_that_cannot_be_read_are_a_problem_unless_files_are_absent() -> None:
    Path("a.jsonl").write_text('{"words": "red", "label": "bad"}\n')
    problems, notes = tried()
    assert len(problems) == 1 and notes == []
    problems, notes = tried(incomplete=True)
    assert problems == [] and len(notes) == 1


def test_the_best_metric_of_an_evaluator_that_declares_nothing_is_compared_with_what_it_reports() -> (
    None
):
    assert tried("train.best_metric=rows") == ([], [])
    (problem,) = tried("train.best_metric=row")[0]
    assert problem.message == "train.best_metric must be one of rows, but is 'row'"
    assert problem.hint == "did you mean 'rows'?"


def test_check_prints_the_problem_of_the_stage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    good = check_specs(Request(["x.yaml"], ["eval.output=lable"], smoke=True))
    printed = capsys.readouterr().out
    assert not good
    assert printed.startswith("x.yaml:11:1: evaluator 'counting' failed with KeyError")
    assert "Traceback" not in printed
