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
    rows = [
        {"image": f"{name}.png", "question": "how many?", "answer": "one"}
        for name in ("a", "bad", "b")
    ]
    (tmp_path / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    )
    given = {
        "path": tmp_path / "qa.jsonl",
        "media": tmp_path,
        "exclude_list": tmp_path / "q.jsonl",
    }
    settings = [f"data.train.{key}={value}" for key, value in given.items()]
    return [
        TINY,
        f"data.tokenizer={tmp_path / 'vocab.txt'}",
        *settings,
        "--split",
        "train",
    ]


def test_a_list_that_is_missing_is_written_where_the_spec_wants_it(
    split: list[str], tmp_path: Path
) -> None:
    done = CliRunner().invoke(app, ["data", "check", *split])
    assert done.exit_code == 2
    assert "train: 3 files, 1 unusable" in done.output
    assert json.loads((tmp_path / "q.jsonl").read_text())["video_id"] == "bad.png"


def test_a_second_check_does_not_empty_the_list(
    split: list[str], tmp_path: Path
) -> None:
    runs = [CliRunner().invoke(app, ["data", "check", *split]).output for _ in range(2)]
    assert runs[0] == runs[1]
    assert json.loads((tmp_path / "q.jsonl").read_text())["video_id"] == "bad.png"
    assert not (tmp_path / "qa.exclude_list.jsonl").exists()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"box": [0, 60, 10, 70]},
            'the box [0.0, 60.0, 10.0, 70.0] of "the dot" is outside the image a.png',
        ),
        (
            {"box": [0, 0, 10, 10], "size": [20, 10]},
            "'size' must be that of the image a.png (48x48 pixels)",
        ),
    ],
)
def test_boxes_that_their_images_contradict_are_wrong(
    tmp_path: Path, row: dict, message: str
) -> None:
    Image.new("RGB", (48, 48)).save(tmp_path / "a.png")
    good = {"image": "a.png", "phrase": "the dot", "box": [0, 0, 10, 10]}
    rows = "".join(json.dumps(line) + "\n" for line in (good, good | row, good))
    (tmp_path / "boxes.jsonl").write_text(rows)
    (tmp_path / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    )
    settings = [
        f"data.tokenizer={tmp_path / 'vocab.txt'}",
        f"data.train.path={tmp_path / 'boxes.jsonl'}",
        f"data.train.media={tmp_path}",
    ]
    spec = str(ROOT / "configs_image" / "grounding_shapes_tiny.yaml")
    done = CliRunner().invoke(
        app, ["data", "check", spec, *settings, "--split", "train"]
    )
    assert done.exit_code == 2
    assert f"wrong: {tmp_path / 'boxes.jsonl'}:2: {message}" in done.output
    assert "train: 1 files, 0 unusable" in done.output
    assert "1 items do not fit their files" in done.output
