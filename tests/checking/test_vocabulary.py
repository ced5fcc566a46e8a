"""A checkpoint is used with the vocabulary that it was trained with, and with no other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import mplug2
from mplug2.eval.run import evaluate_checkpoint
from registry import SpecError, UserError, read_spec

MESSAGE = r"the vocabulary must be the one that the checkpoint .* was trained with, vocab\.txt \(8 tokens, "


@pytest.fixture
def checkpoint(folder: Path) -> Path:
    """Train two steps; return the checkpoint."""
    return mplug2.train("spec.yaml", ["train.output_dir=run"]).last


def reverse(source: Path, target: Path) -> None:
    """Write a vocabulary in which two tokens have exchanged their ids."""
    tokens = source.read_text().split("\n")
    tokens[5], tokens[6] = tokens[6], tokens[5]
    target.write_text("\n".join(tokens))


def test_eval_predict_and_resume_refuse_another_vocabulary(
    folder: Path, checkpoint: Path
) -> None:
    stored = json.loads((checkpoint / "vocabularies.json").read_text())
    assert {name: entry["tokens"] for name, entry in stored.items()} == {"vocab.txt": 8}
    other = "data.tokenizer=other.txt"
    reverse(folder / "vocab.txt", folder / "other.txt")
    evaluate_checkpoint(read_spec("spec.yaml"), checkpoint)
    assert mplug2.pipeline("spec.yaml", checkpoint)(question="one") is not None
    with pytest.raises(SpecError, match=MESSAGE) as error:
        evaluate_checkpoint(read_spec("spec.yaml", [other]), checkpoint)
    assert str(error.value.problems[0].place) == f"command line: {other}"
    assert error.value.problems[0].hint == "data.tokenizer=vocab.txt"
    with pytest.raises(SpecError, match=MESSAGE):
        mplug2.pipeline("spec.yaml", checkpoint, [other])
    with pytest.raises(SpecError, match=MESSAGE):
        mplug2.train(
            "spec.yaml",
            ["train.output_dir=run", "train.max_steps=4", other],
            resume=True,
        )


def test_a_file_that_has_changed_since(folder: Path, checkpoint: Path) -> None:
    reverse(folder / "vocab.txt", folder / "vocab.txt")
    with pytest.raises(SpecError, match=MESSAGE) as error:
        evaluate_checkpoint(read_spec("spec.yaml"), checkpoint)
    assert error.value.problems[0].hint == "vocab.txt has changed since: restore it"
    assert error.value.problems[0].place.line == 15


def test_a_copy_under_another_name_is_the_same_vocabulary(
    folder: Path, checkpoint: Path
) -> None:
    shutil.copy(folder / "vocab.txt", folder / "copy.txt")
    evaluate_checkpoint(read_spec("spec.yaml", ["data.tokenizer=copy.txt"]), checkpoint)


def test_an_older_checkpoint_is_compared_by_the_file_that_its_spec_names(
    folder: Path, checkpoint: Path
) -> None:
    old = folder / "old"
    old.mkdir()
    for name in ("weights.safetensors", "spec.yaml"):
        shutil.copy(checkpoint / name, old / name)
    reverse(folder / "vocab.txt", folder / "other.txt")
    with pytest.raises(SpecError, match=MESSAGE):
        evaluate_checkpoint(read_spec("spec.yaml", ["data.tokenizer=other.txt"]), old)
    (folder / "vocab.txt").unlink()
    evaluate_checkpoint(read_spec("spec.yaml", ["data.tokenizer=other.txt"]), old)


@pytest.mark.parametrize("content", ["{", "[1]", '{"vocab.txt": 3}'])
def test_a_damaged_record_is_an_error(checkpoint: Path, content: str) -> None:
    (checkpoint / "vocabularies.json").write_text(content)
    with pytest.raises(UserError, match=r"vocabularies\.json: the file is damaged"):
        mplug2.pipeline("spec.yaml", checkpoint)


def test_a_missing_checkpoint_is_reported_before_a_missing_vocabulary(
    folder: Path,
) -> None:
    (folder / "vocab.txt").unlink()
    with pytest.raises(UserError, match="no checkpoint was given"):
        mplug2.pipeline("spec.yaml")
    (folder / "weights.safetensors").touch()
    with pytest.raises(
        UserError,
        match=r"a relative path starts from the folder where the command runs",
    ):
        mplug2.pipeline("spec.yaml", folder / "weights.safetensors")
