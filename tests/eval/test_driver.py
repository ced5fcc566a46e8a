"""The driver: modes, counts of samples, failures on rank 0, several evaluations during training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mplug2  # noqa: F401  (fills the registries)
from modules.eval_mode import eval_mode
from mplug2.eval.evaluation import evaluate, padded_batches
from mplug2.eval.run import chosen_evaluations, evaluate_all, predictions_of
from mplug2.metrics.metric import Row
from registry import EVALUATORS, Registry, UserError, parse_spec
from registry.evaluations import EvaluationSpec


def evaluation(name: str = "", goal: str = "predict", **more: Any) -> EvaluationSpec:
    fields = {"evaluator": None, "metrics": ("label_accuracy",), **more}
    return EvaluationSpec(name, "data", "test", "val", goal, **fields)


class Net(nn.Module):
    """Logits that prefer the class in the batch; a frozen part in eval mode; draws a random number."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(1, 1)
        self.frozen = nn.Sequential(nn.Dropout(0.5), nn.Linear(1, 1))
        self.calls: list[str] = []
        self.train()
        self.frozen.eval()

    def forward(self, batch: dict[str, Any], goal: str) -> dict[str, Any]:
        assert not any(module.training for module in self.modules())
        self.calls.append(goal)
        torch.rand(1)
        return {"label": nn.functional.one_hot(batch["y"], 3).float()}


class Batch:
    def __init__(self, classes: list[int], padding: int = 0) -> None:
        self.inputs = {"y": torch.tensor(classes)}
        self.records: list[dict[str, Any]] = []
        for number, label in enumerate(classes):
            record = {
                "question_id": number,
                "question": "x",
                "answers": [str(label % 2)],
                "type": "t",
            }
            if number >= len(classes) - padding:
                record["padding"] = True
            self.records.append(record)


class Loader(list[Batch]):
    num_records: int


def test_every_module_returns_to_its_own_mode() -> None:
    net = Net()
    before = {name: module.training for name, module in net.named_modules()}
    assert set(before.values()) == {True, False}
    evaluate(net, [Batch([0, 1])], evaluation(), decode=str)
    assert {name: module.training for name, module in net.named_modules()} == before
    with pytest.raises(RuntimeError), eval_mode(net):
        raise RuntimeError("an error must restore them, too")
    assert {name: module.training for name, module in net.named_modules()} == before


def test_rows_are_samples_or_the_evaluation_fails(tmp_path: Path) -> None:
    """21 samples on 2 ranks are 22 rows if a loader repeats one without saying so."""
    marked, unmarked = Loader([Batch([0] * 22, padding=1)]), Loader([Batch([0] * 22)])
    for loader in (marked, unmarked):
        loader.num_records = 21
    assert evaluate(Net(), marked, evaluation(), decode=str).samples == 21
    out = tmp_path / "rows.jsonl"
    with pytest.raises(
        UserError, match="22 samples were evaluated, but the split has 21"
    ):
        evaluate(Net(), unmarked, evaluation(), decode=str, predictions=out)
    assert len(out.read_text().splitlines()) == 22, "the predictions are kept"


class Loses:
    """An evaluator that drops the last row of each batch."""

    goals = ("predict",)

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def update(self, outputs: Mapping[str, Any], records: Sequence[Row]) -> None:
        self.rows += [
            {**record, "prediction": "0", "score": 0.0} for record in records[:-1]
        ]

    def compute(self) -> tuple[dict[str, float], list[Row]]:
        return {"lost": 1.0}, self.rows


@pytest.fixture
def evaluators(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The registry of evaluators with others in it, for one test."""
    own = Registry("evaluator", requires=EVALUATORS.requires)
    for name in EVALUATORS.names():
        own.register(name, EVALUATORS.target(name))
    monkeypatch.setattr("mplug2.eval.evaluator.EVALUATORS", own)
    return own


def test_an_evaluator_that_loses_rows_fails(evaluators: Registry) -> None:
    evaluators.register("loses")(Loses)
    with pytest.raises(
        UserError,
        match=r"Loses must make one row of each sample \(got 1 rows of 2 samples",
    ):
        evaluate(Net(), [Batch([0, 1])], evaluation(evaluator="loses"), decode=str)


def test_several_goals_are_computed_for_each_batch_in_their_order(
    evaluators: Registry,
) -> None:
    class TwoGoals(Loses):
        goals = ("one", "two")
        one_row_per_record = False
        seen: list[tuple[str, int]] = []

        def update(self, outputs: Any, records: Sequence[Row]) -> None:
            self.seen.append((outputs.goal, len(records)))

    evaluators.register("two_goals")(TwoGoals)
    net = Net()
    found = evaluate(
        net,
        [Batch([0, 1]), Batch([1])],
        evaluation(evaluator="two_goals", metrics=()),
        decode=str,
    )
    assert net.calls == ["one", "two", "one", "two"]
    assert TwoGoals.seen == [("one", 2), ("two", 2), ("one", 1), ("two", 1)]
    assert (found.metrics, found.samples) == ({"lost": 1.0}, 3)


def test_an_evaluator_gets_the_settings_that_it_names_and_no_others(
    evaluators: Registry,
) -> None:
    class Prompted(Loses):
        one_row_per_record = False

        def __init__(
            self, *, prompts: str, decode: Any, ensemble: int = 3, metrics: Any
        ) -> None:
            super().__init__()
            made.append((prompts, decode, ensemble))

    made: list[Any] = []
    evaluators.register("prompted")(Prompted)
    settings = {"evaluator": "prompted", "metrics": ()}
    arguments = {"prompts": "openai", "ensemble": None, "batch_size": 4, "rerank": 2}
    evaluate(
        Net(),
        [Batch([0])],
        evaluation("zero", **settings, arguments=arguments),
        decode=str,
    )
    assert made == [("openai", str, 3)]
    with pytest.raises(
        UserError, match="eval.zero: evaluator 'prompted' needs the setting 'prompts'"
    ):
        evaluate(Net(), [], evaluation("zero", **settings), decode=str)
    wrong = evaluation("zero", **settings, arguments={"prompts": "a", "templat": 1})
    with pytest.raises(
        UserError, match="has no setting 'templat'. Settings: prompts, ensemble"
    ):
        evaluate(Net(), [], wrong, decode=str)


def test_which_evaluator_is_needed_follows_from_the_metrics(
    evaluators: Registry,
) -> None:
    class Levels(Loses):
        inputs = {"level": "regions B N width"}

    class LevelMetric:
        inputs = {"height": "regions Q N width"}
        outputs = {"level": "scalar"}

        def compute(self, rows: Sequence[Row]) -> dict[str, float]:
            return {"level": float(len(rows))}

    with pytest.raises(
        UserError,
        match="metric 'level', which measures regions Q N width, has no evaluator",
    ):
        evaluate(
            Net(), [Batch([0, 1])], evaluation(), decode=str, metrics=[LevelMetric()]
        )
    evaluators.register("levels")(Levels)
    with pytest.raises(UserError, match="one row of each sample"):
        evaluate(
            Net(), [Batch([0, 1])], evaluation(), decode=str, metrics=[LevelMetric()]
        )
    evaluators.register("other_levels")(type("Other", (Levels,), {}))
    with pytest.raises(
        UserError, match="several evaluators .levels, other_levels.. Name one"
    ):
        evaluate(
            Net(), [Batch([0, 1])], evaluation(), decode=str, metrics=[LevelMetric()]
        )
    with pytest.raises(UserError, match="eval: no metric and no evaluator is named"):
        evaluate(Net(), [], evaluation(metrics=()), decode=str)


def test_during_training_each_evaluation_has_its_values_and_its_file(
    tmp_path: Path,
) -> None:
    net = Net()
    evaluations = [evaluation(), evaluation("dev/matched"), evaluation("absent")]
    loaders = {"": [Batch([0, 2])], "dev/matched": [Batch([1, 2])]}
    torch.manual_seed(0)
    state = torch.get_rng_state()
    values = evaluate_all(net, None, evaluations, loaders, str, tmp_path, 12)
    assert values == {"label_accuracy": 0.5, "dev/matched/label_accuracy": 0.5}
    assert torch.equal(torch.get_rng_state(), state), (
        "training continues with the numbers it would have drawn"
    )
    names = sorted(path.name for path in (tmp_path / "predictions").iterdir())
    assert names == ["dev%2Fmatched_00000012.jsonl", "val_00000012.jsonl"]
    rows = [
        json.loads(line)
        for line in (tmp_path / "predictions" / names[1]).read_text().splitlines()
    ]
    assert [row["prediction"] for row in rows] == ["0", "2"]


SPEC = """
inputs: {text: text B L}
goals: {predict: {x: text}}
eval:
  metrics: [accuracy]
  a: {split: val}
  b: {metrics: [vqa_accuracy]}
"""


def test_evaluations_are_chosen_by_name_and_split() -> None:
    spec = parse_spec(SPEC, "x.yaml")
    assert [(one.name, one.split) for one in chosen_evaluations(spec)] == [
        ("a", "val"),
        ("b", "test"),
    ]
    (chosen,) = chosen_evaluations(spec, "b", "dev")
    assert (chosen.name, chosen.split, chosen.metrics) == (
        "b",
        "dev",
        ("vqa_accuracy",),
    )
    with pytest.raises(
        UserError, match="there is no evaluation 'c'. Evaluations: a, b"
    ):
        chosen_evaluations(spec, "c")
    assert predictions_of(Path("p/x.jsonl"), chosen, several=True) == Path(
        "p/x.b.jsonl"
    )
    assert predictions_of(Path("p/x.jsonl"), chosen, several=False) == Path("p/x.jsonl")


def test_batches_of_a_rank_that_runs_out_are_padding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other rank has three batches, this one has one, and then none."""
    from mplug2.runtime import distributed

    for own, expected in (([Batch([0, 1])], [2, 0, 0]), ([], [0, 0, 0])):
        monkeypatch.setattr(distributed, "all_gather_object", lambda value: [value, 3])
        monkeypatch.setattr(
            distributed, "broadcast_from_rank0", lambda value: Batch([2, 2])
        )
        counted = []
        for batch in padded_batches(own, synced=True):
            assert len(batch.inputs["y"]) == len(batch.records) == 2
            counted.append(sum(not record.get("padding") for record in batch.records))
        assert counted == expected


def test_an_error_of_rank_0_reaches_all_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    from mplug2.runtime import distributed

    def fails() -> int:
        raise ValueError("a metric failed")

    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(
        distributed, "broadcast_from_rank0", lambda value: sent.append(value) or value
    )
    sent: list[Any] = []
    with pytest.raises(ValueError, match="a metric failed"):
        distributed.on_rank0(fails)
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    monkeypatch.setattr(distributed, "broadcast_from_rank0", lambda value: sent[0])
    with pytest.raises(UserError, match="a metric failed .rank 0 of 2."):
        distributed.on_rank0(fails)
    monkeypatch.setattr(distributed, "broadcast_from_rank0", lambda value: (5, None))
    assert distributed.on_rank0(fails) == 5
