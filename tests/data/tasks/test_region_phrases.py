"""Patches of phrases: those that the box overlaps, in both forms of lines, and what a spec must declare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loaders import make_source
from PIL import Image

from mplug2.data.shapes.questions import vocabulary
from mplug2.data.sources.files import FileSource
from mplug2.data.tasks.region_phrases import RegionPhrasesTask
from mplug2.data.text import Tokenizer
from registry import UserError
from registry.language.ports import StreamType

SIDE, SIZE = 4, 32


def types(patches: int | str = SIDE**2) -> dict[str, StreamType]:
    return {
        "region_image": StreamType("image", ("G", 3, SIZE, SIZE)),
        "phrase_patches": StreamType("labels", ("P", patches)),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a wide image: in the square of 32 pixels it is 16 high, from row 8."""
    Image.fromarray(np.zeros((20, 40, 3), dtype=np.uint8)).save(tmp_path / "wide.png")
    return tmp_path


def source(folder: Path, rows: list[dict[str, Any]], **more: Any) -> FileSource:
    path = folder / "regions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = Tokenizer({token: index for index, token in enumerate(vocabulary())})
    settings = {"types": types(), "media": str(folder), "tokenizer": words} | more
    return make_source(RegionPhrasesTask, path=path, **settings)


def patches(data: FileSource) -> torch.Tensor:
    samples = [data.read(request) for request in data.requests(0, 0)]
    batch = data.collate(samples)  # type: ignore[arg-type]
    return batch.inputs["phrase_patches"].unflatten(1, (SIDE, SIDE))


def test_a_patch_counts_if_the_box_overlaps_it(folder: Path) -> None:
    # One pixel of the file is 0.8 of the square's; patches have 8.
    boxes = [[0, 0, 10, 10], [0, 0, 11, 10], [9, 9, 11, 11]]
    rows = [
        {"image": "wide.png", "phrase": "the red square", "box": box} for box in boxes
    ]
    marked = patches(source(folder, rows)).tolist()
    assert marked[0] == [[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert marked[1] == [[0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert marked[2] == [[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]


def test_lines_of_timix_and_phrases_about_the_complete_image(folder: Path) -> None:
    row = {
        "image": "wide.png",
        "caption": "a square and a ring",
        "elems": [
            {"bb": [20, 0, 20, 20], "caption": "the red square", "attributes": ["red"]}
        ],
    }
    data = source(folder, [row, {"image": "wide.png", "phrase": "a ring"}])
    assert [item.text for item in data.items] == [
        "a square and a ring",
        "the red square",
        "a ring",
    ]
    marked = patches(data)
    assert marked.sum(dim=(1, 2)).tolist() == [16, 4, 16]
    assert marked[1].tolist() == [
        [0, 0, 0, 0],
        [0, 0, 1, 1],
        [0, 0, 1, 1],
        [0, 0, 0, 0],
    ]


def test_each_image_comes_once_with_the_rows_of_its_phrases(folder: Path) -> None:
    Image.fromarray(np.zeros((20, 20, 3), dtype=np.uint8)).save(folder / "other.png")
    names = ["wide.png", "other.png", "wide.png"]
    data = source(folder, [{"image": name, "phrase": "a ring"} for name in names])
    batch = data.collate([data.read(request) for request in data.requests(0, 0)])  # type: ignore[misc]
    assert batch.inputs["region_image"].shape == (2, 3, SIZE, SIZE)
    assert batch.inputs["phrase_image"].tolist() == [0, 0, 1]
    assert batch.inputs["phrase"].ids.shape[0] == 3


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"image": "wide.png"}, "regions.jsonl:1: .* but has no 'phrase'"),
        (
            {"image": "wide.png", "elems": {}},
            "regions.jsonl:1: 'elems' must be a list of regions",
        ),
        (
            {"image": "wide.png", "elems": [{"bb": [1, 2, 3]}]},
            "regions.jsonl:1: each of 'elems' must have 'bb'",
        ),
        (
            {"image": "wide.png", "elems": [{"bb": [0, 0, 9, 9]}]},
            "regions.jsonl:1: 'phrase' must be a text",
        ),
        ({"elems": [], "caption": "a ring"}, "regions.jsonl:1: 'image' must be a name"),
    ],
)
def test_a_broken_line_is_named(
    folder: Path, row: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        source(folder, [row])


def test_the_number_of_patches_must_be_declared_and_square(folder: Path) -> None:
    with pytest.raises(
        UserError,
        match="must have a known number of patches, but is 'labels P patches'",
    ):
        source(folder, [], types=types("patches"))
    with pytest.raises(
        UserError, match="must have a square number of patches, but has 15"
    ):
        source(folder, [], types=types(15))
