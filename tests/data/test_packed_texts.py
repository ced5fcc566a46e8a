"""Packed rows of `plain_text`: little padding, and every token of every text in exactly one row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loaders import make_source, one_epoch, train_loader

from modules.streams import Text
from mplug2.data.byte_tokenizer import ByteTokenizer
from mplug2.data.packing import pack
from mplug2.data.tasks.plain_text import PlainTextTask
from mplug2.data.text import Tokenizer
from registry.errors import UserError


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(20, 80))
def test_every_text_has_one_place_and_rows_are_not_too_long(
    lengths: list[int], capacity: int
) -> None:
    rows = pack(lengths, capacity)
    assert sorted(number for row in rows for number in row) == list(range(len(lengths)))
    sizes = [sum(lengths[number] for number in row) for row in rows]
    for row, size in zip(rows, sizes, strict=True):
        assert size <= capacity or len(row) == 1
    # No two rows could be one: each text went to the first row with room.
    assert all(a + b > capacity for n, a in enumerate(sizes) for b in sizes[:n])


def source(
    path: Path, texts: list[str], tokenizer: Tokenizer | None = None, **settings: Any
) -> Any:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return make_source(
        PlainTextTask, path, tokenizer=tokenizer or ByteTokenizer(), **settings
    )


def real_fraction(batches: list[Any]) -> float:
    """Return the fraction of the tokens in all rows that are not padding."""
    masks = [batch.inputs["text"].mask for batch in batches]
    return sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)


def test_training_packs_and_evaluation_does_not(tmp_path: Path) -> None:
    texts = ["a ring", "b", "circles", "no"] * 4
    packed = source(
        tmp_path / "a.jsonl", texts, text_tokens=16, row_tokens=32, training=True
    )
    (batch,) = one_epoch(train_loader(packed, 16))
    text: Text = batch.inputs["text"]
    assert text.parts is not None and len(text.ids) < 16 == len(batch.records)
    assert int(text.mask.sum()) == sum(
        len(ByteTokenizer().encode(f" {t} [SEP]")) for t in texts
    )
    measured = source(tmp_path / "a.jsonl", texts, text_tokens=16, row_tokens=32)
    (batch,) = one_epoch(train_loader(measured, 16))
    assert batch.inputs["text"].parts is None and len(batch.inputs["text"].ids) == 16
    with pytest.raises(
        UserError, match=r"row_tokens must be 0 or at least text_tokens, 16 \(got 8\)"
    ):
        source(tmp_path / "a.jsonl", texts, text_tokens=16, row_tokens=8)


@pytest.mark.slow
def test_lines_of_wikitext_fill_rows(tmp_path: Path, shared: Path) -> None:
    texts = shared / "data" / "text"
    lines = (texts / "wikitext-2-valid.txt").read_text(encoding="utf-8").split("\n")
    kept = [line.strip() for line in lines if line.strip()]
    words = Tokenizer.load(texts / "bert-base-uncased-vocab.txt")
    fractions = {}
    for row_tokens in (0, 512):
        data = source(
            tmp_path / "a.jsonl",
            kept,
            words,
            text_tokens=256,
            row_tokens=row_tokens,
            training=True,
        )
        fractions[row_tokens] = real_fraction(one_epoch(train_loader(data, 64)))
    print(f"real tokens of WikiText lines: {fractions}")
    assert fractions[512] >= 0.9 > 0.6 > fractions[0]
