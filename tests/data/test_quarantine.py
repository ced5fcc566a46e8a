"""`mplug2 data check` tries every file of a split, also those that a list leaves out of training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from small_specs import ROOT
from typer.testing import CliRunner

from mplug2.cli.app import app

TINY = str(ROOT / "configs_image" / "vqa_shapes_tiny.yaml")


@pytest.fixture
def split(tmp_path: Path) -> list[str]:
    """The settings of a split of three images, one of them broken, whose list is to be q.jsonl."""
    for name in ("a", "b"):
        Image.new("RGB", (48, 48)).save(tmp_path / f"{name}.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    rows = [{"image": f"{name}.png", "question": "how many?", "answer": "one"} for name in ("a", "bad", "b")]
    (tmp_path / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    given = {"path": tmp_path / "qa.jsonl", "media": tmp_path, "exclude_list": tmp_path / "q.jsonl"}
    settings = [f"data.train.{key}={value}" for key, value in given.items()]
    return [TINY, f"data.tokenizer={tmp_path / 'vocab.txt'}", *settings, "--split", "train"]


def test_a_list_that_is_missing_is_written_where_the_spec_wants_it(split: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["data", "check", *split])
    assert done.exit_code == 2
    assert "train: 3 files, 1 unusable" in done.output
    assert json.loads((tmp_path / "q.jsonl").read_text())["video_id"] == "bad.png"


def test_a_second_check_does_not_empty_the_list(split: list[str], tmp_path: Path) -> None:
    runs = [CliRunner().invoke(app, ["data", "check", *split]).output for _ in range(2)]
    assert runs[0] == runs[1]
    assert json.loads((tmp_path / "q.jsonl").read_text())["video_id"] == "bad.png"
    assert not (tmp_path / "qa.exclude_list.jsonl").exists()
