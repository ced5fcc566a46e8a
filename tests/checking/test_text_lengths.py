"""Free answers longer than the positions of the decoder: `check --run` and training refuse them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mplug2.build.compose import compose
from mplug2.cli.checking import quick
from mplug2.data.text import Tokenizer
from mplug2.data.text_lengths import longest_above
from mplug2.train.ready import training_loaders
from registry import SpecError, read_spec
from registry.training import training_plan

ROOT = Path(__file__).resolve().parents[2]
SPEC = str(ROOT / "configs_image" / "vqa_shapes_tiny.yaml")
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue"]
POSITIONS = 12  # the searches of the spec write up to 10 tokens


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Settings of the VQA spec with an image and two questions; the longer answer has POSITIONS tokens."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(TOKENS) + "\n")
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    write_answers(POSITIONS - 2)
    data = [f"data.{split}.path=rows.jsonl" for split in ("train", "val", "test")]
    size = f"modules.decoder.max_positions={POSITIONS}"
    return [
        *data,
        "data.media=.",
        "data.tokenizer=vocab.txt",
        "data.workers=0",
        "train.engine=torch",
        size,
    ]


def write_answers(words: int) -> None:
    """Write two questions; the longer answer has some words, and [CLS] and [SEP] around them."""
    rows = []
    for number, answer in enumerate(("red", " ".join(["blue"] * words))):
        row = {
            "image": "a.png",
            "question": "red",
            "answer": answer,
            "question_id": number,
        }
        rows.append(json.dumps(row))
    Path("rows.jsonl").write_text("\n".join(rows) + "\n")


def errors(
    settings: list[str], capsys: pytest.CaptureFixture[str]
) -> list[dict[str, Any]]:
    """Return the errors of `check --run`."""
    quick([SPEC, *settings, "--run", "--json"])
    record = json.loads(capsys.readouterr().out)
    return [row for row in record["problems"] if row["severity"] == "error"]


def train(settings: list[str]) -> None:
    """Build what training builds before its first step."""
    spec = read_spec(SPEC, settings)
    net = compose(spec, device="meta", initial=False)
    training_loaders(net.spec, net.types, training_plan(net.spec))


def test_answers_of_all_positions_pass(settings: list[str]) -> None:
    train(settings)


def test_a_longer_answer_is_refused_before_training(
    settings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_answers(POSITIONS - 1)
    (row,) = errors(settings, capsys)
    assert row["message"] == (
        "max_positions of 'decoder' must be at least 13, the tokens of the longest 'answer' of split "
        "'train', but is 12"
    )
    assert (
        row["hint"]
        == "write `max_positions: 13`, or cut the texts: `data.answer_tokens=12`"
    )
    assert row["file"] == "command line"
    with pytest.raises(
        SpecError, match="max_positions of 'decoder' must be at least 13"
    ):
        train(settings)
    train([*settings, "data.answer_tokens=12"])


@pytest.mark.parametrize("limit", range(2, 8))
def test_longest_above_counts_tokens(limit: int, settings: list[str]) -> None:
    tokenizer = Tokenizer.load("vocab.txt")
    texts = ["red[SEP]", "blue blue blue[SEP]", "a wordthatisunknown[SEP]"]
    longest = max(len(tokenizer.encode(text)) for text in texts)
    assert longest == 5
    assert longest_above(tokenizer, texts, limit) == (
        longest if longest > limit else None
    )
