"""Boxes follow their image into the square, also mirrored, and phrases swap left and right with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loaders import eval_loader, make_items, make_source, train_loader
from PIL import Image

from mplug2.data.batch import Batch, Sample, SampleRequest
from mplug2.data.shapes.questions import vocabulary
from mplug2.data.sources.files import FileSource
from mplug2.data.tasks.grounding import GroundingTask, Letterbox
from mplug2.data.text import Tokenizer
from registry import check, read_spec
from registry.errors import UserError
from registry.language.ports import StreamType

TYPES = {"image": StreamType("image", ("V", 3, 32, 32))}


def reader(folder: Path, rows: list[dict], **more: Any) -> FileSource:
    path = folder / "phrases.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = Tokenizer({token: index for index, token in enumerate(vocabulary())})
    return make_source(
        GroundingTask,
        path=str(path),
        media=str(folder),
        types=TYPES,
        tokenizer=words,
        **more,
    )


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A wide black image with a white block at 10..30 x 4..12."""
    pixels = np.zeros((20, 40, 3), dtype=np.uint8)
    pixels[4:12, 10:30] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    return tmp_path


ROW = {"image": "wide.png", "phrase": "the left square", "box": [10, 4, 30, 12]}


def brightest(view: torch.Tensor) -> list[float]:
    """The box around what is bright, in parts of the square."""
    size = view.shape[-1]
    rows, columns = np.nonzero(view[0].numpy() > 1.0)
    return [
        columns.min() / size,
        rows.min() / size,
        (columns.max() + 1) / size,
        (rows.max() + 1) / size,
    ]


def tokens(data: FileSource, batch: Batch) -> str:
    return " ".join(
        map(str, data.task.tokenizer.tokens(batch.inputs["phrase"].ids[0].tolist()))
    )


def test_a_phrase_is_said_as_the_released_code_says_it(picture: Path) -> None:
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "the",
        "man",
        "'",
        "s",
        "hat",
        ",",
        "left",
        "-",
        "most",
    ]
    for limit, said in (
        (20, "[CLS] the man ' s hat , left - most [SEP]"),
        (6, "[CLS] the man ' s [SEP]"),
    ):
        data = reader(
            picture, [ROW | {"phrase": "The Man's hat, left-most"}], phrase_tokens=limit
        )
        data.task.tokenizer = Tokenizer(
            {word: number for number, word in enumerate(words)}
        )
        assert tokens(data, data.collate([data[0]])) == said  # type: ignore[list-item]


def test_the_box_lies_where_the_thing_is(picture: Path) -> None:
    data = reader(picture, [ROW])
    sample = data[0]
    batch = data.collate([sample])  # type: ignore[list-item]
    assert batch.inputs["box"][0].tolist() == pytest.approx(
        brightest(batch.inputs["image"][0]), abs=1 / 32
    )
    assert batch.inputs["image"][0, :, :7].abs().max() == 0, (
        "above the image the square is grey"
    )
    assert batch.records[0]["box"] == pytest.approx(batch.inputs["box"][0].tolist())
    assert batch.records[0]["pixels"] == [10, 4, 30, 12]


def test_a_mirrored_image_has_its_box_and_words_mirrored(picture: Path) -> None:
    data = reader(picture, [ROW] * 12, training=True, flip="media_and_text")
    said = {False: "[CLS] the left square [SEP]", True: "[CLS] the right square [SEP]"}
    seen = set()
    for index in range(12):
        sample = data[index]
        batch = data.collate([sample])  # type: ignore[list-item]
        mirrored = sample.crop_geometry.mirrored  # type: ignore[union-attr]
        seen.add(mirrored)
        assert tokens(data, batch) == said[mirrored]
        assert batch.inputs["box"][0].tolist() == pytest.approx(
            brightest(batch.inputs["image"][0]), abs=1 / 32
        )
    assert seen == {True, False}


@given(
    height=st.integers(1, 900),
    width=st.integers(1, 900),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
    mirrored=st.booleans(),
)
def test_a_placed_box_stays_a_box_in_the_square(
    height: int, width: int, corners: tuple[float, ...], mirrored: bool
) -> None:
    x1, x2 = sorted((corners[0] * width, corners[2] * width))
    y1, y2 = sorted((corners[1] * height, corners[3] * height))
    scale = 1 / max(height, width)
    frame = Letterbox(
        scale, (1 - width * scale) / 2, (1 - height * scale) / 2, mirrored
    )
    left, top, right, bottom = frame.place([x1, y1, x2, y2])
    assert 0 <= left <= right <= 1
    assert 0 <= top <= bottom <= 1
    assert (right - left) * (bottom - top) == pytest.approx(
        (x2 - x1) * (y2 - y1) * scale**2, abs=1e-9
    )


WRONG = [
    [1, 2, 3],
    [3, 2, 1, 4],
    "box",
    [1, 2, 3, None],
    [0, 0, 0, 5],
    [0, 0, 10**17, 5],
    [-9, -9, -1, -1],
]


@pytest.mark.parametrize(
    "box", [*WRONG, [0, 0, float("inf"), 5], [0, 0, float("nan"), 5]]
)
def test_a_wrong_box_is_named(picture: Path, box: Any) -> None:
    with pytest.raises(
        UserError, match=r"phrases\.jsonl:2: 'box' must be \[left, top, right, bottom\]"
    ):
        reader(picture, [ROW, ROW | {"box": box}])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("box", [[500, 0, 600, 10], [0, 22, 40, 30]])
def test_a_box_outside_its_image_is_counted_as_broken(
    picture: Path, training: bool, box: list[int]
) -> None:
    data = reader(picture, [ROW, ROW | {"box": box}], training=training)
    loader = (
        train_loader(data, 2, max_bad_fraction=1.0)
        if training
        else eval_loader(data, 2, max_bad_fraction=1.0)
    )
    batch = next(iter(loader))
    (reason,) = loader.bad.values()
    assert reason.startswith(f"{picture / 'phrases.jsonl'}:2: the box [")
    assert reason.endswith(
        'of "the left square" is outside the image wide.png (40x20 pixels)'
    )
    assert [record["pixels"] for record in batch.records if "bad" not in record] == [
        ROW["box"]
    ] * (2 if training else 1)
    held = reader(
        picture, [ROW | {"box": [-5, -5, 3, 3]}, ROW | {"box": [38, 18, 60, 60]}]
    )
    assert all(isinstance(held[index], Sample) for index in range(2)), (
        "a part of the box is in the image"
    )


def test_a_phrase_that_is_asked_needs_no_box(picture: Path) -> None:
    words = Tokenizer({word: number for number, word in enumerate(vocabulary())})
    given = {"media": str(picture), "types": TYPES, "tokenizer": words}
    task = GroundingTask(types=TYPES, tokenizer=words)
    data = make_items(GroundingTask, [task.question("the left square")], **given)
    sample = data.read(SampleRequest(("wide.png",), (0,)))
    assert isinstance(sample, Sample)
    assert data.collate([sample]).records == [
        {
            "question_id": 0,
            "question": "the left square",
            "pixels": [0.0] * 4,
            "box": [0.0, 0.25, 0.0, 0.25],
        }
    ]


@pytest.mark.parametrize(
    "setting",
    [{"phrase_tokens": 0}, {"phrases_per_image": 0}, {"cache": -1}, {"threads": -1}],
)
def test_numbers_that_make_no_sense_are_refused(
    picture: Path, setting: dict[str, int]
) -> None:
    with pytest.raises(UserError, match=f"{next(iter(setting))} must be at least"):
        reader(picture, [ROW], **setting)


def test_a_crop_is_refused_before_anything_is_read() -> None:
    spec = read_spec("configs_image/grounding_shapes_tiny.yaml", ["data.augment=crop"])
    with pytest.raises(
        UserError, match="'augment' of task 'grounding' must be one of 'none'"
    ):
        check(spec).raise_if_bad()


@pytest.mark.parametrize("training", [True, False])
def test_a_size_of_another_file_is_counted_as_broken(
    picture: Path, training: bool
) -> None:
    data = reader(picture, [ROW | {"size": [20, 40]}], training=training)
    failed = data[0]
    assert (
        "phrases.jsonl:1: 'size' must be that of the image wide.png (40x20 pixels)"
        in failed.reason
    )  # type: ignore[union-attr]
    assert isinstance(
        reader(picture, [ROW | {"size": [40, 20]}], training=training)[0], Sample
    )
