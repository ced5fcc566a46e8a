"""Words that a vocabulary lacks are counted in what becomes an input, without decoding media."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from loaders import make_source

from mplug2.data.byte_tokenizer import ByteTokenizer
from mplug2.data.tasks.caption import CaptionTask
from mplug2.data.text import Tokenizer
from mplug2.data.unknown_words import count_words
from mplug2.train.ready import unknown_word_warnings
from registry.language.ports import StreamType

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "run", "##s"]


def captions(folder: Path, texts: list[str], tokenizer: Tokenizer | None = None) -> Any:
    rows = [
        {"image": f"{number}.png", "caption": text} for number, text in enumerate(texts)
    ]
    path = folder / "captions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return make_source(
        CaptionTask,
        path=path,
        media=str(folder),
        types={"image": StreamType("image", ("V", 3, 8, 8))},
        inputs={"image", "caption"},
        tokenizer=tokenizer
        or Tokenizer(
            {word: number for number, word in enumerate(WORDS)}, source="v.txt"
        ),
    )


def test_words_not_pieces_are_counted(tmp_path: Path) -> None:
    counts = count_words(captions(tmp_path, ["a dog runs", "a cat runs", "a cat dog"]))
    assert counts.unknown == {"cat": 2}
    # [SEP] ends each caption and is a word of the vocabulary.
    assert counts.words == 12
    assert str(counts) == "2 of 12 words (16.7%: cat)"
    assert (
        count_words(captions(tmp_path, ["a cat"] * 10), max_samples=3).unknown.total()
        == 3
    )


def test_no_byte_is_unknown(tmp_path: Path) -> None:
    assert (
        count_words(captions(tmp_path, ["ein Hund läuft"], ByteTokenizer())).fraction
        == 0
    )


@pytest.mark.parametrize(
    ("texts", "warned"), [(["un chien court"], True), (["a dog runs"] * 20, False)]
)
def test_training_warns_of_another_language(
    tmp_path: Path, texts: list[str], warned: bool
) -> None:
    loaders = {
        "train": SimpleNamespace(source=captions(tmp_path, texts)),
        "mine": object(),
    }
    lines = unknown_word_warnings(loaders)
    assert len(lines) == warned
    if warned:
        assert lines[0].startswith(
            "WARNING: batch 'train': the vocabulary v.txt lacks 3 of 4 words (75.0%: un,"
        )
