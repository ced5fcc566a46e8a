"""Several seeds of one spec: a folder each, and the median and extent of what they measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mplug2.cli.app import app
from mplug2.train.seeds import Spread, best_values, spread_of_runs, train_seeds
from registry import UserError

SPEC = """
inputs: {text: text B L, label: labels B}
modules:
  words: {use: text_embedding, width: 8, max_positions: 16, vocab_size: 50}
  head: {use: class_head}
flow: {embeds: words(text), logits: head(embeds), loss: 'cross_entropy(logits, target=label)'}
goals: {train: {loss: loss}, predict: {label: logits}}
data:
  task: text_class
  tokenizer: VOCAB
  template: '[CLS] {sentence} [SEP]'
  text_tokens: 16
  labels: [yes, no]
  workers: 0
  train: {path: TABLE}
  val: {path: TABLE}
train: {engine: torch, epochs: 1, batch_size: 4, best_metric: label_accuracy, loggers: []}
eval: {split: val, metrics: [label_accuracy, matthews]}
"""


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds")
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad"]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    rows = ["good\tyes", "bad\tno"] * 4
    (folder / "table.tsv").write_text("\n".join(["sentence\tlabel", *rows]) + "\n")
    text = SPEC.replace("VOCAB", str(folder / "vocab.txt")).replace(
        "TABLE", str(folder / "table.tsv")
    )
    (folder / "spec.yaml").write_text(text)
    return folder / "spec.yaml"


def write_run(folder: Path, **values: float) -> None:
    (folder / "best").mkdir(parents=True)
    (folder / "best/state.json").write_text(json.dumps({"metrics": values}))


def test_each_seed_has_its_folder_and_its_weights(spec: Path, tmp_path: Path) -> None:
    settings = [f"train.output_dir={tmp_path / 'run'}", "train.seed=5"]
    results = train_seeds(spec, settings, 2)
    assert [result.folder.name for result in results] == ["seed_5", "seed_6"]
    weights = [(result.last / "weights.safetensors").read_bytes() for result in results]
    assert weights[0] != weights[1]
    again = train_seeds(spec, settings, 2, resume=True)
    assert [result.steps for result in again] == [result.steps for result in results]


def test_the_command_prints_median_and_extent(spec: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["train", str(spec), "--seeds", "2", f"train.output_dir={run}"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    values = [best_values(run / f"seed_{seed}")["label_accuracy"] for seed in (0, 1)]
    extent = f"{sum(values) / 2:.4f} ({min(values):.4f} to {max(values):.4f}, 2 seeds)"
    assert f"label_accuracy: {extent}" in done.output
    refused = CliRunner().invoke(app, [*words[:3], "0"])
    assert refused.exit_code == 2
    assert "--seeds must be at least 1 (got 0)" in refused.output


def test_the_spread_is_over_the_best_checkpoints(tmp_path: Path) -> None:
    for seed, value in enumerate((0.5, 0.9, 0.6)):
        write_run(tmp_path / f"seed_{seed}", matthews=value)
    assert spread_of_runs(tmp_path) == {"matthews": Spread(0.6, 0.5, 0.9, 3)}


def test_a_table_has_a_row_for_each_run_and_the_average_of_tasks(
    tmp_path: Path,
) -> None:
    write_run(tmp_path / "mrpc", label_f1=0.8, label_accuracy=0.6)
    for seed, value in enumerate((0.1, 0.2, 0.4)):
        write_run(tmp_path / f"cola/seed_{seed}", matthews=value)
    runs = [str(tmp_path / name) for name in ("mrpc", "cola")]
    done = CliRunner().invoke(app, ["table", *runs, "--average"])
    assert done.exit_code == 0, done.output
    lines = [re.sub(" +", " ", line).strip() for line in done.output.splitlines()]
    assert lines[2:] == [
        "mrpc label_f1 0.8000, label_accuracy 0.6000 0.7000",
        "cola matthews 0.2000 (0.1000 to 0.4000, 3 seeds) 0.2000",
        "average 0.4500",
    ]
    assert "0.7000" not in CliRunner().invoke(app, ["table", *runs]).output


@pytest.mark.parametrize("content", [None, "{}", '{"metrics": {"a": "x"}}', "["])
def test_what_is_no_run_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "last").mkdir()
        (tmp_path / "last/state.json").write_text(content)
    with pytest.raises(
        UserError, match="must be the folder of a run with a checkpoint"
    ):
        best_values(tmp_path)
