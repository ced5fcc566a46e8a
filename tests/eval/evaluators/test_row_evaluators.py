"""What the evaluators of rows read out of outputs: probabilities on request, numbers, sums of losses."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mplug2
from modules.streams import Text, Tokens
from mplug2.eval.evaluation import evaluate
from mplug2.metrics.metric import Row, metric
from registry import UserError, parse_spec
from registry.evaluations import EvaluationSpec
from registry.training import training_plan

CLASSES = ["a", "b", "c", "d", "e", "f"]


@metric(
    inputs={"label": "logits B classes"},
    outputs={"top5": "scalar", "mean_auc": "scalar"},
    needs=["probabilities", "classes"],
)
def ranked_classes(rows: Sequence[Row]) -> dict[str, float]:
    """Top-5 accuracy, and the mean over classes of the area under the ROC curve."""
    probabilities = np.stack([row["probabilities"] for row in rows])
    labels = np.array([row["classes"].index(row["answers"][0]) for row in rows])
    order = (-probabilities).argsort(axis=1)
    top5 = float((order[:, :5] == labels[:, None]).any(axis=1).mean())
    areas = []
    for index in set(labels.tolist()):
        positive, negative = (
            probabilities[labels == index, index],
            probabilities[labels != index, index],
        )
        areas.append(float((positive[:, None] > negative[None]).mean()))
    return {"top5": top5, "mean_auc": sum(areas) / len(areas)}


class Outputs(nn.Module):
    """Returns the batch as the outputs of the goal."""

    def forward(self, batch: dict[str, Any], goal: str) -> dict[str, Any]:
        return batch


class Batch:
    def __init__(self, inputs: Mapping[str, Any], records: list[Row]) -> None:
        self.inputs, self.records = inputs, records


def measure(outputs: list[Batch], metrics: list[Any], **more: Any) -> Any:
    evaluation = EvaluationSpec(
        "", "data", "test", None, "predict", more.pop("evaluator", None), ()
    )
    return evaluate(Outputs(), outputs, evaluation, decode=str, metrics=metrics, **more)


def test_metrics_may_read_all_probabilities_and_files_hold_the_best_class(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    logits = torch.randn(8, len(CLASSES))
    records: list[Row] = []
    for number in range(8):
        answer = CLASSES[number % len(CLASSES)]
        records.append(
            {
                "question_id": number,
                "question": "x",
                "answers": [answer],
                "classes": CLASSES,
            }
        )
    out = tmp_path / "rows.jsonl"
    batches = [
        Batch({"label": logits[:5]}, records[:5]),
        Batch({"label": logits[5:]}, records[5:]),
    ]
    found = measure(batches, [ranked_classes, "label_accuracy"], predictions=out)
    labels = torch.arange(8) % len(CLASSES)
    top5 = (logits.topk(5).indices == labels[:, None]).any(dim=1).float().mean()
    assert found.metrics["top5"] == pytest.approx(float(top5))
    assert 0 < found.metrics["mean_auc"] < 1
    assert found.metrics["label_accuracy"] == pytest.approx(
        float((logits.argmax(1) == labels).float().mean())
    )
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert rows[0].keys() == {
        "question_id",
        "question",
        "answers",
        "prediction",
        "score",
        "correct",
    }
    assert rows[0]["prediction"] == CLASSES[int(logits[0].argmax())]
    assert rows[0]["score"] == pytest.approx(float(logits[0].softmax(0).max()))


def test_probabilities_are_kept_only_on_request() -> None:
    seen: list[Row] = []

    @metric(inputs={"label": "logits B classes"}, outputs={"count": "scalar"})
    def count(rows: Sequence[Row]) -> dict[str, float]:
        seen.extend(rows)
        return {"count": float(len(rows))}

    record = {"question_id": 0, "question": "x", "answers": ["a"], "classes": CLASSES}
    assert measure(
        [Batch({"label": torch.randn(1, 6)}, [record])], [count]
    ).metrics == {"count": 1.0}
    assert seen[0].keys() == {
        "question_id",
        "question",
        "answers",
        "prediction",
        "score",
    }


def test_real_values() -> None:
    @metric(
        inputs={"value": "scores B"},
        outputs={"mean_squared_error": "scalar"},
        smaller_is_better=["mean_squared_error"],
    )
    def mean_squared_error(rows: Sequence[Row]) -> dict[str, float]:
        return {
            "mean_squared_error": sum(
                (row["prediction"] - row["value"]) ** 2 for row in rows
            )
            / len(rows)
        }

    records: list[Row] = [
        {"question_id": number, "value": float(number)} for number in range(3)
    ]
    for shape in ((3,), (3, 1)):
        value = torch.tensor([0.0, 2.0, 4.0]).reshape(shape)
        found = measure([Batch({"value": value}, records)], [mean_squared_error])
        assert found.metrics["mean_squared_error"] == pytest.approx(5 / 3)
    with pytest.raises(UserError, match="must be numbers .rows., but is Tensor"):
        measure([Batch({"value": torch.zeros(3, 2)}, records)], [mean_squared_error])


def test_perplexity_adds_sums_and_counts_and_divides_once(tmp_path: Path) -> None:
    """Batches of 1 and of 9 tokens: the mean of their means is another number."""
    batches = [
        Batch(
            {"loss_sum": torch.tensor([4.0]), "num_tokens": torch.tensor([1.0])},
            [{"question_id": 0}],
        ),
        Batch(
            {
                "loss_sum": torch.tensor([6.0, 0.0, 9.0]),
                "num_tokens": torch.tensor([6.0, 3.0, 1.0]),
            },
            [
                {"question_id": 1},
                {"question_id": 2},
                {"question_id": 0, "padding": True},
            ],
        ),
    ]
    found = measure(batches, ["perplexity"], predictions=tmp_path / "rows.jsonl")
    assert found.metrics == {
        "perplexity": pytest.approx(math.exp(1.0)),
        "token_loss": pytest.approx(1.0),
    }
    assert found.samples == 3
    rows = [
        json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()
    ]
    assert rows[1] == {"question_id": 1, "loss_sum": 6.0, "num_tokens": 6.0}
    nothing = [
        Batch(
            {"loss_sum": torch.zeros(1), "num_tokens": torch.zeros(1)},
            [{"question_id": 0}],
        )
    ]
    assert all(
        math.isnan(value) for value in measure(nothing, ["perplexity"]).metrics.values()
    )
    huge = [
        Batch(
            {"loss_sum": torch.tensor([1e6]), "num_tokens": torch.ones(1)},
            [{"question_id": 0}],
        )
    ]
    assert measure(huge, ["perplexity"]).metrics["perplexity"] == math.inf


CAUSAL = """
inputs: {vision: tokens B N 16, text: text B L}
modules: {decoder: {use: text_decoder, width: 16, depth: 1, heads: 2, vocab_size: 30, max_positions: 12}}
flow:
  logits: decoder(text, memory=vision)
  loss: lm_loss(logits, target=text, reduction='per_token')
  nll: token_loss(logits, target=text)
goals:
  train: {loss: loss}
  predict: {loss_sum: nll.loss_sum, num_tokens: nll.num_tokens}
eval: {metrics: [perplexity]}
"""


def test_a_network_by_the_operation_token_loss() -> None:
    torch.manual_seed(0)
    net = mplug2.compose(parse_spec(CAUSAL, "x.yaml"))
    mask = torch.arange(7) < torch.tensor([7, 3, 5])[:, None]
    text = Text(torch.randint(1, 30, (3, 7)) * mask, mask)
    inputs: dict[str, Any] = {"vision": Tokens(torch.randn(3, 2, 16)), "text": text}
    (evaluation,) = training_plan(net.spec).evaluations
    records: list[Row] = [{"question_id": number} for number in range(3)]
    found = evaluate(net, [Batch(inputs, records)], evaluation, decode=str)
    with torch.no_grad():
        loss = float(net.eval()(inputs, goal="train")["loss"])
    assert found.metrics["token_loss"] == pytest.approx(loss, rel=1e-5)
    assert found.metrics["perplexity"] == pytest.approx(math.exp(loss), rel=1e-5)


def test_probabilities_of_views_are_averaged() -> None:
    """By hand: logits (0, log 3) are probabilities (1/4, 3/4); the mean of probabilities is not that of
    logits."""
    logits = torch.tensor(
        [
            [0.0, math.log(3)],
            [math.log(19), 0.0],
            [0.0, math.log(3)],
            [0.0, math.log(3)],
        ]
    )
    names = {"classes": ["a", "b"], "answers": ["a"]}
    records = [{"question_id": row // 2, "view": row % 2, **names} for row in range(4)]
    seen: list[Row] = []

    @metric(
        inputs={"label": "logits B classes"},
        outputs={"count": "scalar"},
        needs=["probabilities"],
    )
    def count(rows: Sequence[Row]) -> dict[str, float]:
        """Keep the rows."""
        seen.extend(rows)
        return {"count": float(len(rows))}

    measure([Batch({"label": logits}, records)], [count])
    assert len(seen) == 2
    # views 1/4 and 19/20 of class a: 0.6 (the mean of logits would give 0.716)
    assert [row["prediction"] for row in seen] == ["a", "b"]
    assert seen[0]["probabilities"].tolist() == pytest.approx([0.6, 0.4])
    assert seen[1]["probabilities"].tolist() == pytest.approx([0.25, 0.75])
    assert all("view" not in row for row in seen)
