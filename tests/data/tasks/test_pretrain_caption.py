"""Captions as pre-training reads them: where they are cut, what the decoder writes, instructions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from loaders import make_source
from PIL import Image

from modules.streams import Text
from mplug2.data.batch import Sample
from mplug2.data.shapes.questions import vocabulary
from mplug2.data.sources.files import FileSource
from mplug2.data.tasks.pretrain_caption import PretrainCaptionTask
from mplug2.data.text import Tokenizer
from registry.language.ports import StreamType

TYPES = {"image": StreamType("image", ("B", 3, 16, 16))}
CAPTIONS = ["a red circle and a blue ring", "two rings", "ring"]
TOKENIZER = Tokenizer({word: number for number, word in enumerate(vocabulary())})


def source_of(folder: Path, **settings: Any) -> FileSource:
    rows = []
    for number, caption in enumerate(CAPTIONS):
        Image.new("RGB", (16, 16)).save(folder / f"{number}.png")
        rows.append(json.dumps({"image": f"{number}.png", "caption": caption}))
    (folder / "captions.jsonl").write_text("\n".join(rows))
    return make_source(
        PretrainCaptionTask,
        folder / "captions.jsonl",
        tokenizer=TOKENIZER,
        media=str(folder),
        types=TYPES,
        training=True,
        **settings,
    )


def texts(source: FileSource, epoch: int) -> dict[str, dict[str, str]]:
    """Return all texts of an epoch as words: by the caption, and by the name of the input."""
    samples = []
    for request in source.requests(epoch, 0):
        sample = source.read(request)
        assert isinstance(sample, Sample)
        samples.append(sample)
    inputs = source.collate(samples).inputs
    rows: dict[str, dict[str, str]] = {}
    for row, sample in enumerate(samples):
        words: dict[str, str] = {}
        for name, value in inputs.items():
            if isinstance(value, Text):
                tokens = TOKENIZER.tokens(value.ids[row][value.mask[row]].tolist())
                assert tokens[0] == "[CLS]"
                words[name] = " ".join(str(token) for token in tokens[1:])
        rows[sample.items[0].texts[0]] = words
    return rows


def test_prefix_and_continuation_are_the_caption(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    cuts = set()
    for epoch in range(40):
        for caption, row in texts(source, epoch).items():
            assert row["caption"] == caption
            assert row["response"] == f"{caption} [SEP]"
            assert (
                " ".join(f"{row['prefix']} {row['continuation']}".split())
                == f"{caption} [SEP]"
            )
            if caption == CAPTIONS[0]:
                cuts.add(len(row["prefix"].split()))
    assert cuts == {0, 1, 2, 3, 4, 5, 6}


def test_the_cut_follows_from_seed_and_epoch(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    epochs = [texts(source, epoch) for epoch in range(10)]
    assert epochs[3] == texts(source_of(tmp_path), 3)
    assert len({epoch[CAPTIONS[0]]["prefix"] for epoch in epochs}) > 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "[UNK] the image [UNK]"),
        ({"instruction": "what is in the image"}, "what is in the image"),
    ],
)
def test_instructions(tmp_path: Path, settings: dict[str, str], words: str) -> None:
    rows = texts(source_of(tmp_path, **settings), 0)
    assert {row["instruction"] for row in rows.values()} == {words}


def test_long_captions_are_cut_and_do_not_end(tmp_path: Path) -> None:
    row = texts(source_of(tmp_path, caption_tokens=4), 0)[CAPTIONS[0]]
    assert row["response"] == "a red circle"
