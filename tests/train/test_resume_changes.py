"""What changed between a checkpoint and its resume is listed, or refused where weights would mean others."""

from __future__ import annotations

from pathlib import Path

import pytest
from train_fakes import FakeLoader, run

from mplug2.runtime import distributed
from mplug2.runtime.manifest import write_manifest
from mplug2.train.resume_changes import changed_settings
from registry import Spec, UserError, parse_spec, write_spec

SPEC = """
inputs: {text: text B L, label: labels B}
modules:
  words: {use: text_embedding, width: 8, vocab_size: 9, max_positions: 6, dropout: 0.1}
  head:  {use: class_head, width: 8, classes: 3, pool: first}
flow:
  embedded: words(text)
  logits:   head(embedded)
  loss:     cross_entropy(logits, target=label)
goals: {train: {loss: loss}}
train: {epochs: 1, lr: 1e-3}
"""


def spec(old: str = "", new: str = "") -> Spec:
    assert old in SPEC
    return parse_spec(SPEC.replace(old, new), "small.yaml")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / "spec.yaml").write_text(write_spec(spec()))
    write_manifest(tmp_path, {"world_size": 1})
    return tmp_path


def test_without_changes_nothing_is_listed(checkpoint: Path) -> None:
    assert changed_settings(checkpoint, spec()) == []
    assert changed_settings(None, spec()) == []
    moved = spec("lr: 1e-3}", "lr: 1e-3, output_dir: elsewhere}")
    assert changed_settings(checkpoint, moved) == []


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        ("epochs: 1", "epochs: 2", "train.epochs: 1 -> 2"),
        ("lr: 1e-3", "lr: 1e-4", "train.lr: 0.001 -> 0.0001"),
        ("dropout: 0.1", "dropout: 0.2", "modules.words.dropout: 0.1 -> 0.2"),
        ("goals: ", "freeze: {words: true}\ngoals: ", "freeze.words: not set -> True"),
    ],
)
def test_changed_settings_are_listed(
    checkpoint: Path, old: str, new: str, change: str
) -> None:
    (line,) = changed_settings(checkpoint, spec(old, new))
    assert line == f"WARNING: changed since the checkpoint was written: {change}"


def test_another_kind_of_module_argument_is_refused(checkpoint: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"modules were others: modules\.head\.pool: first -> mean\. Restore",
    ):
        changed_settings(checkpoint, spec("pool: first", "pool: mean"))


def test_another_number_of_processes_is_named(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    (line,) = changed_settings(checkpoint, spec())
    assert line.startswith("WARNING: 1 processes wrote the checkpoint, 2 resume it")


def test_a_resumed_run_prints_what_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, FakeLoader(2), epochs=1)
    run(tmp_path, FakeLoader(2), resume=True, epochs=2, log_every=2)
    assert (
        "changed since the checkpoint was written: train.epochs: 1 -> 2; train.log_every: 1 -> 2"
        in (capsys.readouterr().out)
    )
