"""Training lets the images of a pair change places, and the words left and right with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loaders import make_source
from PIL import Image

from mplug2.data.batch import Sample
from mplug2.data.shapes.questions import vocabulary
from mplug2.data.sources.files import FileSource
from mplug2.data.tasks.text_label import TextLabelTask
from mplug2.data.text import Tokenizer
from registry import StreamType

TYPES = {name: StreamType("image", ("V", 3, 32, 32)) for name in ("left", "right")}
WRITTEN = "Is the left shape right of the square?"
SAID = {
    False: "is the left shape right of the square",
    True: "is the right shape left of the square",
}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Sixteen times the same dark left and bright right image."""
    for name, grey in (("dark", 0), ("bright", 255)):
        Image.fromarray(np.full((32, 32, 3), grey, np.uint8)).save(
            tmp_path / f"{name}.png"
        )
    rows = [
        {"images": ["dark.png", "bright.png"], "sentence": WRITTEN, "label": "True"}
    ] * 16
    (tmp_path / "pairs.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows)
    )
    return tmp_path


def reader(folder: Path, **more: Any) -> FileSource:
    words = Tokenizer({word: number for number, word in enumerate(vocabulary())})
    given: dict[str, Any] = {
        "path": str(folder / "pairs.jsonl"),
        "media": str(folder),
        "labels": ["False", "True"],
        "types": TYPES,
        "tokenizer": words,
        "training": True,
        "augment": "full",
    }
    return make_source(TextLabelTask, **given | more)


def orders(data: FileSource, epoch: int = 0) -> dict[int, bool]:
    """Return for each line whether the bright image came first; words, label and rows must agree with it."""
    found = {}
    for request in data.requests(epoch, 0):
        sample = data.read(request)
        assert isinstance(sample, Sample)
        batch = data.collate([sample])
        left, right = (batch.inputs[name].mean().item() for name in ("left", "right"))
        assert left != right
        changed = left > right
        ids = batch.inputs["sentence"].ids[0].tolist()
        assert data.task.tokenizer.decode(ids) == SAID[changed]
        assert batch.inputs["label"].tolist() == [1]
        found[sample.request.items[0]] = changed
    return found


def test_one_pair_in_two_changes_places_with_its_words(pairs: Path) -> None:
    data = reader(pairs)
    first = orders(data)
    assert set(first.values()) == {True, False}
    assert orders(data) == first, "the sample alone decides"
    assert orders(data, epoch=1) != first


@pytest.mark.parametrize(
    "settings", [{"augment": "none"}, {"augment": "crop"}, {"training": False}]
)
def test_pairs_stay_as_they_are_told_otherwise(
    settings: dict[str, Any], pairs: Path
) -> None:
    assert set(orders(reader(pairs, **settings)).values()) == {False}
