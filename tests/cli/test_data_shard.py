"""`mplug2 data shard`: from files to shards to a spec that reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from small_specs import ROOT
from typer.testing import CliRunner

from mplug2.checking.files import absent_of_split
from mplug2.cli.app import app
from registry import read_spec
from registry.sources import SHORT_SOURCE

TINY = str(ROOT / "configs_image" / "vqa_shapes_tiny.yaml")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Questions about two images, and a vocabulary."""
    for name in ("a", "b"):
        Image.new("RGB", (48, 48)).save(tmp_path / f"{name}.png")
    rows = [
        {"image": f"{name}.png", "question": "how many?", "answer": "one"}
        for name in ("a", "b", "a")
    ]
    (tmp_path / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    )
    return tmp_path


def pack(files: Path, *more: str) -> tuple[int, str]:
    words = [
        "data",
        "shard",
        str(files / "qa.jsonl"),
        "--media",
        str(files),
        "--out",
        str(files / "packed"),
    ]
    done = CliRunner().invoke(app, [*words, *more])
    return done.exit_code, done.output


def test_a_spec_reads_what_was_packed(files: Path) -> None:
    code, output = pack(files)
    assert code == 0, output
    assert f"{files / 'packed'}: 2 samples with 3 entries in 1 shards" in output
    assert f"data.train.shards={files / 'packed'} instead of data.train.path" in output
    settings = [
        f"data.tokenizer={files / 'vocab.txt'}",
        "data.train.path=",
        f"data.train.shards={files / 'packed'}",
    ]
    done = CliRunner().invoke(
        app, ["data", "check", TINY, *settings, "--split", "train"]
    )
    assert done.exit_code == 0, done.output
    assert "train: 2 files, 0 unusable" in done.output


def test_an_existing_folder_is_kept(files: Path) -> None:
    pack(files)
    code, output = pack(files)
    assert code == 2
    assert (
        f"{files / 'packed'} already exists. Use --overwrite to replace it, or another --out"
        in output
    )
    assert pack(files, "--overwrite")[0] == 0


def test_shards_that_are_absent_are_named_with_their_position(files: Path) -> None:
    settings = [
        "data.train.path=",
        "data.train.shards=nowhere",
        "data.val=",
        "data.test=",
    ]
    notes = absent_of_split(read_spec(TINY, settings), SHORT_SOURCE, "train")
    # The folder of media that the spec names for its other splits is not one of them.
    assert list(map(str, notes)) == [
        "command line: data.train.shards=nowhere: shards 'nowhere' does not exist here"
    ]
    # An address is not looked up to judge a spec.
    settings[1] = "data.train.shards=s3://bucket/folder"
    notes = absent_of_split(read_spec(TINY, settings), SHORT_SOURCE, "train")
    assert notes == []
