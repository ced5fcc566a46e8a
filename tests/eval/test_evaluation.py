"""Evaluation over samples, with predictions and a breakdown by type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from modules.streams import Sequences
from mplug2.eval.evaluation import Evaluation, evaluate
from mplug2.metrics.accuracy import Accuracy
from mplug2.metrics.breakdown import by_type, most_frequent
from registry import UserError, check, parse_spec
from registry.evaluations import EvaluationSpec


class Echo(nn.Module):
    """Answers with the class it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, batch: dict[str, Any], goal: str) -> dict[str, Any]:
        assert not self.training
        assert goal == "predict"
        ids = batch["says"][:, None, None]
        return {"answer": Sequences(ids, -ids[..., 0].float())}


class Batch:
    def __init__(self, says: list[int], records: list[dict[str, Any]]) -> None:
        self.inputs, self.records = {"says": torch.tensor(says)}, records


def record(number: int, answer: int, kind: str, **more: Any) -> dict[str, Any]:
    return {
        "question_id": number,
        "question": "?",
        "answers": [str(answer)],
        "type": kind,
        **more,
    }


# uneven batches: the mean of their accuracies (0.5) is not the accuracy (0.6)
BATCHES = [
    Batch(
        [1, 2, 3, 1],
        [record(3, 1, "b"), record(1, 2, "a"), record(0, 3, "a"), record(2, 2, "a")],
    ),
    Batch([0, 7], [record(4, 5, "b"), record(0, 3, "a", padding=True)]),
]


SPEC = EvaluationSpec("", "data", "test", None, "predict", None, ())


def measure(net: nn.Module, loader: Any, metrics: list[Any], **more: Any) -> Evaluation:
    """Evaluate by metrics that need not be registered."""
    return evaluate(
        net,
        loader,
        SPEC,
        metrics=metrics,
        **{"decode": lambda ids: str(ids[0]), **more},
    )


def run(**more: Any) -> Evaluation:
    return measure(Echo(), BATCHES, [Accuracy()], **more)


def test_metrics_are_over_samples_and_padding_does_not_count(tmp_path: Path) -> None:
    found = run(predictions=tmp_path / "deep" / "p.jsonl")
    assert found.samples == 5
    assert found.metrics == {"accuracy": pytest.approx(3 / 5)}
    rows = [
        json.loads(line)
        for line in (tmp_path / "deep/p.jsonl").read_text().splitlines()
    ]
    assert [row["question_id"] for row in rows] == [0, 1, 2, 3, 4]
    assert rows[1] == {
        **record(1, 2, "a"),
        "prediction": "2",
        "score": -2.0,
        "correct": True,
    }
    assert not list((tmp_path / "deep").glob("*.tmp"))


def test_the_breakdown_stands_beside_the_most_frequent_answer() -> None:
    (table,) = run().tables
    assert table.rows == (
        ("a", 3, pytest.approx(2 / 3), pytest.approx(2 / 3)),
        ("b", 2, 0.5, 0.5),
        ("all", 5, 0.6, 0.6),
    )
    assert table.sections == (2,)
    assert table.title.endswith("of this split")


def test_the_baseline_can_come_from_training() -> None:
    training = [record(0, 9, "a"), record(1, 5, "b")]
    (table,) = run(train_records=lambda: training).tables
    assert table.title.endswith("of the training split")
    assert table.rows[-1][-1] == pytest.approx(1 / 5)
    assert len(table.rows) == 3


def test_what_has_no_answers_is_left_out_and_counted() -> None:
    batch = Batch([1, 2], [record(0, 1, "a"), record(1, 0, "b", answers=[])])
    found = measure(Echo(), [batch], [Accuracy()])
    assert (found.metrics, found.samples, found.unanswered) == ({"accuracy": 1.0}, 2, 1)
    assert [row[:2] for row in found.tables[0].rows] == [("a", 1), ("all", 1)]


def test_the_network_trains_on_afterwards() -> None:
    net = Echo().train()
    measure(net, BATCHES, [Accuracy()])
    assert net.training


def test_a_goal_without_the_output_is_refused() -> None:
    class Asks(Accuracy):
        inputs = {"caption": "sequences B n"}

    with pytest.raises(
        UserError, match="needs the goal output 'caption', but the goal gives answer"
    ):
        measure(Echo(), BATCHES, [Asks()])


def test_metrics_of_different_outputs_are_refused_before_the_network_runs() -> None:
    class Never(list[Batch]):
        def __iter__(self) -> Any:
            raise AssertionError("a batch was read")

    class Caption(Accuracy):
        inputs = {"caption": "sequences B n"}

    with pytest.raises(
        UserError,
        match="must measure one output of the goal, but measure 'answer' and 'cap",
    ):
        measure(Echo(), Never(BATCHES), [Accuracy(), Caption()])


def test_metrics_of_different_outputs_are_refused_by_check() -> None:
    text = """
inputs: {image: image B 3 H W, caption: text B L}
modules:
  vision: {use: image_vit, width: 32, depth: 1, heads: 2, patch: 16, size: 32}
  decoder: {use: text_decoder, width: 32, depth: 1, heads: 2, vocab_size: 128, max_positions: 16}
  head: {use: class_head, width: 32, classes: 3}
flow:
  seen: vision(image)
  logits: decoder(caption, memory=seen)
  loss: lm_loss(logits, target=caption)
  guess: beam_search(@decoder, memory=seen, num_beams=2, max_length=4)
  sorts: head(seen)
goals: {train: {loss: loss}, predict: {answer: guess, label: sorts}}
eval: {metrics: [accuracy, METRIC]}
"""
    (problem,) = check(
        parse_spec(text.replace("METRIC", "label_accuracy"), "x.yaml")
    ).problems
    assert problem.message == (
        "metrics must measure one output of goal 'predict', "
        "but 'accuracy' 'answer' and 'label_accuracy' 'label'"
    )
    assert not check(
        parse_spec(text.replace("METRIC", "vqa_accuracy"), "x.yaml")
    ).problems


def test_a_metric_that_fails_leaves_the_predictions(tmp_path: Path) -> None:
    class Fails(Accuracy):
        def compute(self, rows: Any) -> dict[str, float]:
            raise UserError("no Java today")

    out = tmp_path / "p.jsonl"
    with pytest.raises(UserError, match="no Java today"):
        measure(Echo(), BATCHES, [Fails()], predictions=out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["prediction"] for row in rows] == ["3", "2", "1", "1", "0"]
    assert [row["correct"] for row in rows] == [True, True, False, True, False]


def test_predictions_are_valid_json_where_a_network_gives_no_numbers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Locates):
        def forward(self, batch: dict[str, Any], goal: str) -> dict[str, Any]:
            return {
                "box": super().forward(batch, goal)["box"]
                * torch.tensor([[1.0], [torch.nan]])
            }

    records = [
        {"question_id": i, "question": "", "answers": [], "box": [0, 0, 1, 1]}
        for i in range(2)
    ]
    out = tmp_path / "p.jsonl"
    measure(Broken(), [Batch([0], records)], ["iou"], predictions=out)
    assert json.loads(out.read_text().splitlines()[1])["prediction"] == [None] * 4
    assert "NaN" not in out.read_text()
    assert "p.jsonl: 1 of 2 rows have numbers that are not finite: null" in caplog.text


def test_numbered_questions_stand_before_named_ones(tmp_path: Path) -> None:
    names: list[Any] = ["b", None, 10, 9]
    records = [record(0, 1, "a") | {"question_id": name} for name in names]
    out = tmp_path / "p.jsonl"
    measure(Echo(), [Batch([1] * 4, records)], [Accuracy()], predictions=out)
    assert [
        json.loads(line)["question_id"] for line in out.read_text().splitlines()
    ] == [
        9,
        10,
        None,
        "b",
    ]


def test_undecodable_files_are_reported() -> None:
    class Loader(list[Batch]):
        bad = {"b.mp4": "no frames", "a.mp4": "truncated"}

    assert measure(Echo(), Loader(BATCHES), [Accuracy()]).bad == ["a.mp4", "b.mp4"]


def test_equally_frequent_answers_are_chosen_by_the_alphabet() -> None:
    rows = [
        {"question": "Who is it", "answers": [answer]}
        for answer in ("woman", "man", "man", "woman")
    ]
    assert most_frequent(rows) == {"who": "man"}
    assert by_type([], {}) == []
    boxes = [{"question": "the left dog", "correct": True}]
    assert by_type(boxes, {}) == [], "there is no most frequent box"


class Classifier(nn.Module):
    """Says class 1 of the first row, class 0 of the second."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, batch: dict[str, Any], goal: str) -> dict[str, Any]:
        return {"label": torch.tensor([[0.0, 3.0], [2.0, 0.0]])}


def test_logits_are_told_by_the_names_of_their_classes(tmp_path: Path) -> None:
    records = [
        {
            "question_id": i,
            "question": "x",
            "answers": [answer],
            "type": "t",
            "classes": ["no", "yes"],
        }
        for i, answer in enumerate(("yes", "yes"))
    ]
    loader = [Batch([0], records)]
    written = tmp_path / "rows.jsonl"
    found = measure(Classifier(), loader, ["label_accuracy"], predictions=written)
    assert found.metrics == {"label_accuracy": 0.5}
    rows = [json.loads(line) for line in written.read_text().splitlines()]
    assert [row["prediction"] for row in rows] == ["yes", "no"]
    assert rows[0]["score"] == pytest.approx(0.9526, abs=1e-4)
    assert "classes" not in rows[0]


class Locates(nn.Module):
    """Says the left half of the first row, the right half of the second."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, batch: dict[str, Any], goal: str) -> dict[str, Any]:
        return {"box": torch.tensor([[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]])}


def test_boxes_are_written_as_four_numbers_and_judged_by_their_overlap(
    tmp_path: Path,
) -> None:
    box = [0.0, 0.0, 0.5, 1.0]
    records = [
        {"question_id": i, "question": "", "answers": [], "type": "box", "box": box}
        for i in range(2)
    ]
    out = tmp_path / "boxes.jsonl"
    found = measure(Locates(), [Batch([0], records)], ["iou"], predictions=out)
    assert found.metrics == {"iou_accuracy": 0.5, "mean_iou": 0.5}
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["prediction"] for row in rows] == [box, [0.5, 0.0, 1.0, 1.0]]
    assert [row["correct"] for row in rows] == [True, False] and rows[0][
        "score"
    ] is None
