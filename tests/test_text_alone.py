"""A spec of text alone from data check to prediction, and sources, mixtures and options that a spec names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from loaders import one_epoch
from small_specs import ROOT
from typer.testing import CliRunner

import mplug2
from mplug2.cli.app import app
from mplug2.data.build import build_eval_loader, build_loader
from mplug2.data.checking import check_split
from mplug2.data.shapes.questions import vocabulary
from mplug2.data.shapes.sentences import KINDS, sentence_rows
from mplug2.data.sources.mixture import MixtureSource
from mplug2.eval.run import evaluate_checkpoint
from mplug2.predict.result import Result
from mplug2.train.run import train
from registry import UserError, check, parse_spec, read_spec
from registry.training import training_plan

TINY = ROOT / "configs_text" / "entailment_shapes_tiny.yaml"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Write a few sentences, and return the settings of the shipped spec for them."""
    folder = tmp_path_factory.mktemp("sentences")
    for number, split in enumerate(("train", "val", "test")):
        rows = [row for index in range(4) for row in sentence_rows([0, number, index])]
        (folder / f"{split}.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows)
        )
    (folder / "vocab.txt").write_text("\n".join(vocabulary()) + "\n")
    values = {
        f"data.{split}.path": folder / f"{split}.jsonl"
        for split in ("train", "val", "test")
    }
    values |= {
        "data.tokenizer": folder / "vocab.txt",
        "data.workers": 0,
        "train.output_dir": folder / "run",
    }
    values |= {"train.engine": "torch", "train.max_steps": 2, "train.batch_size": 8}
    return [f"{key}={value}" for key, value in values.items()]


@pytest.fixture(scope="module")
def trained(settings: list[str]) -> list[str]:
    """Train two steps; return the settings."""
    result = train(read_spec(TINY, settings))
    assert result.steps == 2 and set(result.metrics) == {"label_accuracy"}
    return settings


def test_data_check_counts_texts_and_labels(settings: list[str]) -> None:
    spec = read_spec(TINY, settings)
    checked = check_split(spec, check(spec).types, "train")
    assert (checked.files, checked.samples, checked.items) == (0, 24, 24)
    assert checked.counts == {
        "entailment": 8,
        "contradiction": 8,
        "neutral": 8,
        "refused rows": 0,
    }
    done = CliRunner().invoke(app, ["data", "check", str(TINY), *settings])
    assert done.exit_code == 0, done.output
    assert (
        "val: 24 samples\n  entailment 8, contradiction 8, neutral 8, refused rows 0"
        in done.output
    )


def test_evaluation_has_a_row_for_each_text(trained: list[str], tmp_path: Path) -> None:
    spec = read_spec(TINY, trained)
    best = Path(str(spec.train["output_dir"])) / "best"
    results = evaluate_checkpoint(spec, best, predictions=tmp_path / "rows.jsonl")
    (evaluation,) = results.values()
    rows = [
        json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()
    ]
    assert len(rows) == evaluation.samples == 24
    assert {row["type"] for row in rows} <= set(KINDS)
    right = sum(row["prediction"] in row["answers"] for row in rows)
    assert evaluation.metrics["label_accuracy"] == pytest.approx(right / 24)


def test_texts_are_predicted_in_python(trained: list[str]) -> None:
    pipe = mplug2.pipeline(TINY, overrides=trained)
    assert (pipe.kind, pipe.views, pipe.asks) == ("text", 0, "text")
    pair = "a red circle [SEP] the circle is red"
    alone = pipe(question=pair)
    assert isinstance(alone, Result)
    assert {guess.text for guess in alone.guesses} == {
        "entailment",
        "contradiction",
        "neutral",
    }
    assert alone.row()["text"] == pair and alone.media == ()
    both = pipe(question=[pair, "a ring [SEP] there is a ring"])
    assert isinstance(both, list)
    assert both[0].score == pytest.approx(alone.score, abs=1e-5)
    for wrong in ({"media": "a.png", "question": pair}, {"question": None}):
        with pytest.raises(UserError, match="reads text alone"):
            pipe(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"must have 2 part\(s\)"):
        pipe(question="a red circle")


def test_texts_are_predicted_on_the_command_line(
    trained: list[str], tmp_path: Path
) -> None:
    words = [
        "predict",
        str(TINY),
        *trained,
        "--text",
        "a red circle [SEP] the circle is red",
    ]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("a red circle [SEP] the circle is red\n  ")
    several = CliRunner().invoke(
        app, [*words, "--text", "a ring [SEP] there is a ring"]
    )
    lines = [json.loads(line) for line in several.stdout.splitlines()]
    assert [line["text"] for line in lines] == [
        words[-1],
        "a ring [SEP] there is a ring",
    ]
    refused = CliRunner().invoke(app, [*words, "--image", "a.png"])
    assert refused.exit_code == 2
    assert "reads text alone: give it by --text TEXT" in refused.output


LONG = """
inputs: {{text: text B L, label: labels B}}
modules:
  words: {{use: text_embedding, width: 8, vocab_size: 210, max_positions: 64}}
  head: {{use: class_head, width: 8, classes: 3}}
flow:
  embeds: words(text)
  logits: head(embeds)
  loss: cross_entropy(logits, target=label)
goals: {{a: {{loss: loss}}, b: {{loss: loss}}, predict: {{label: logits}}}}
data:
  task: text_class
  labels: [entailment, contradiction, neutral]
  tokenizer: {folder}/vocab.txt
  workers: 0
  sources:
    first:  {{train: {{path: {folder}/train.jsonl}}, hard: {{path: {folder}/val.jsonl}}}}
    second: {{train: {{path: {folder}/test.jsonl}}}}
    mixed: {mixture}
  batches:
    a: {{source: mixed, batch_size: 4}}
    b: {{source: first, batch_size: {{tokens: 200}}, text_tokens: 12}}
train: {{micro_batch: {{a: 2, b: {{tokens: 60}}}}}}
eval: {{hard: {{source: first, split: hard, goal: predict, metrics: [label_accuracy]}}}}
"""


def long_spec(
    settings: list[str], mixture: str = "{first: 3, second: 1}", **changes: str
) -> Any:
    folder = Path(settings[0].partition("=")[2]).parent
    text = LONG.format(folder=folder, mixture=mixture)
    for old, new in changes.items():
        text = text.replace(old, new)
    return parse_spec(text, "long.yaml")


def test_a_batch_has_options_of_its_own_and_may_count_tokens(
    settings: list[str],
) -> None:
    spec = long_spec(settings)
    types = check(spec).raise_if_bad().types
    batches = training_plan(spec).batches
    mixed, short = (build_loader(spec, types, batches[name]) for name in ("a", "b"))
    assert (mixed.kind, short.kind) == ("a", "b")
    assert isinstance(mixed.source, MixtureSource)
    assert mixed.source.weights is not None and mixed.source.weights.tolist() == [
        0.75,
        0.25,
    ]
    for batch in one_epoch(short):
        assert batch.kind == "b"
        assert batch.inputs["text"].ids.shape[1] <= 12
        assert batch.inputs["text"].ids.numel() <= 60
    assert max(batch.inputs["text"].ids.shape[1] for batch in one_epoch(mixed)) > 12


def test_a_split_may_have_any_name(settings: list[str]) -> None:
    spec = long_spec(settings)
    loader = build_eval_loader(
        spec, check(spec).types, "first", "hard", goals=["predict"]
    )
    records = [record for batch in loader for record in batch.records]
    assert [record["question_id"] for record in records] == list(range(24))


def test_sources_of_a_mixture_share_one_task(settings: list[str]) -> None:
    spec = long_spec(settings, **{"second: {": "second: {text_tokens: 30, "})
    with pytest.raises(
        UserError,
        match=r"long\.yaml:19:12: all sources of a mixture must have the same task",
    ):
        build_loader(spec, check(spec).types, training_plan(spec).batches["a"])


@pytest.mark.parametrize(
    ("changes", "world", "message"),
    [
        (
            {"batch_size: 4": "batch_size: 5"},
            2,
            "multiple of the number of ranks (got 5 on 2 ranks)",
        ),
        (
            {"a: 2, b": "a: {tokens: 60}, b"},
            1,
            "needs a batch_size by tokens (got 4 samples)",
        ),
    ],
)
def test_batches_that_cannot_be_formed_are_refused_at_their_position(
    settings: list[str], changes: dict[str, str], world: int, message: str
) -> None:
    spec = long_spec(settings, **changes)
    with pytest.raises(UserError) as caught:
        build_loader(
            spec, check(spec).types, training_plan(spec).batches["a"], world=world
        )
    assert str(caught.value).startswith("long.yaml:21:8: ")
    assert message in str(caught.value)
