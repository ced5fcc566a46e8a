"""Regions as inputs of tasks: with and without their images, repeated with them, and where they cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loaders import make_source
from PIL import Image

from modules.streams import Regions
from mplug2.data.shapes.questions import vocabulary
from mplug2.data.sources.files import FileSource
from mplug2.data.tasks.grounding import GroundingTask
from mplug2.data.tasks.question_answer import QuestionAnswerTask
from mplug2.data.tasks.text_label import TextLabelTask
from mplug2.data.text import Tokenizer
from registry.errors import UserError
from registry.language.ports import StreamType

IMAGE = StreamType("image", ("V", 3, 32, 32))
BOXES = {
    "a": [[0.0, 0.0, 0.5, 1.0]],
    "b": [[0.0, 0.0, 1.0, 1.0], [0.25, 0.5, 0.75, 1.0]],
}


def tokenizer() -> Tokenizer:
    return Tokenizer({token: index for index, token in enumerate(vocabulary())})


def write_lines(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two wide images with their boxes, and an .npz of features for each."""
    for name, boxes in BOXES.items():
        Image.fromarray(np.zeros((20, 40, 3), dtype=np.uint8)).save(
            tmp_path / f"{name}.png"
        )
        features = np.full((len(boxes), 4), ord(name), dtype=np.float32)
        np.savez(
            tmp_path / f"{name}.npz",
            features=features,
            norm_bb=np.array(boxes, dtype=np.float32),
        )
    write_lines(
        tmp_path / "boxes.jsonl",
        [{"image": f"{name}.png", "boxes": boxes} for name, boxes in BOXES.items()],
    )
    return tmp_path


def source(
    task: type, folder: Path, rows: list[dict[str, Any]], **arguments: Any
) -> FileSource:
    path = write_lines(folder / "rows.jsonl", rows)
    settings = {
        "path": path,
        "tokenizer": tokenizer(),
        "types": {},
        "regions": str(folder),
    }
    return make_source(task, **settings | arguments)


QUESTIONS = [
    {"image": "a.png", "question": "what colour is it?", "answer": "red"},
    {
        "image": "b.png",
        "question": "how many?",
        "answer": {"two": 3, "three": 2, "ten": 1},
    },
    {"image": "b.png", "question": "which shape?", "answer": "ring"},
]


def test_features_without_images_are_repeated_for_each_question(folder: Path) -> None:
    inputs = ["question", "regions"]
    data = source(
        QuestionAnswerTask, folder, QUESTIONS, inputs=inputs, questions_per_clip=2
    )
    batch = data.collate([data[0], data[1]])
    regions: Regions = batch.inputs["regions"]
    assert regions.mask is not None
    assert regions.mask.tolist() == [[True, False], [True, True], [True, True]]
    assert regions.features[:, 0, 0].tolist() == [ord("a"), ord("b"), ord("b")]
    assert regions.boxes[1].tolist() == BOXES["b"]
    assert "image" not in batch.inputs


def test_boxes_beside_their_images_have_a_row_for_each_image(folder: Path) -> None:
    data = source(
        QuestionAnswerTask,
        folder,
        QUESTIONS,
        inputs=["question", "regions", "image", "image_index"],
        types={"image": IMAGE},
        media=str(folder),
        regions=str(folder / "boxes.jsonl"),
        questions_per_clip=2,
    )
    batch = data.collate([data[0], data[1]])
    assert batch.inputs["image"].shape == (2, 3, 32, 32)
    assert batch.inputs["image_index"].tolist() == [0, 1, 1]
    assert batch.inputs["regions"].features.shape == (2, 2, 0)


def test_pairs_have_regions_of_both_images(folder: Path) -> None:
    rows = [
        {"images": ["a.png", "b.png"], "sentence": "both show a ring", "label": "yes"}
    ]
    inputs = ["left_regions", "right_regions", "sentence", "label"]
    data = source(TextLabelTask, folder, rows, inputs=inputs, labels=["no", "yes"])
    batch = data.collate([data[0]])
    sizes = [batch.inputs[name].boxes.shape[1] for name in inputs[:2]]
    assert sizes == [1, 2]


def test_boxes_follow_the_image_into_the_square(folder: Path) -> None:
    """The image is twice as wide as high: it fills the middle half of the square."""
    row = {"image": "b.png", "phrase": "the left square", "box": [10, 10, 30, 20]}
    inputs = ["image", "phrase", "box", "regions"]
    arguments = {
        "types": {"image": IMAGE},
        "media": str(folder),
        "inputs": inputs,
        "training": True,
    }
    seen = set()
    data = source(GroundingTask, folder, [row], flip="media_and_text", **arguments)
    for epoch in range(8):
        (request,) = data.requests(epoch, 0)
        sample = data.read(request)
        batch = data.collate([sample])  # type: ignore[list-item]
        boxes, box = batch.inputs["regions"].boxes[0], batch.inputs["box"][0]
        assert boxes[0].tolist() == [0.0, 0.25, 1.0, 0.75]
        # The second region is the gold box itself.
        torch.testing.assert_close(boxes[1], box)
        seen.add(bool(sample.crop_geometry.mirrored))  # type: ignore[union-attr]
    assert seen == {False, True}


def test_scores_of_answers(folder: Path) -> None:
    answers = folder / "answers.json"
    answers.write_text(json.dumps(["red", "two", "three", "ring"]))
    inputs = ["question", "regions", "answer_scores"]
    settings = {"inputs": inputs, "answer_list": str(answers), "questions_per_clip": 2}
    for rule, expected in (
        ("fraction", [0.0, 0.5, 1 / 3, 0.0]),
        ("votes", [0.0, 0.9, 0.6, 0.0]),
    ):
        data = source(
            QuestionAnswerTask, folder, QUESTIONS, answer_score=rule, **settings
        )
        batch = data.collate([data[1]])
        torch.testing.assert_close(
            batch.inputs["answer_scores"][0], torch.tensor(expected)
        )
        assert batch.records[0]["classes"] == ["red", "two", "three", "ring"]
    with pytest.raises(UserError, match="input 'answer_scores' needs the answers"):
        source(QuestionAnswerTask, folder, QUESTIONS, inputs=inputs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"regions": None}, "input 'regions' needs a file: set data.regions"),
        ({"regions": "nowhere"}, "nowhere: the file or folder of regions must exist"),
        ({"augment": "crop"}, r"without crops and flips \(got augment: crop"),
        ({"flip": "media"}, r"flip: media\)"),
        ({"max_regions": 0}, "max_regions must be at least 1"),
    ],
)
def test_what_cannot_be_read_is_named(
    change: dict[str, Any], message: str, folder: Path
) -> None:
    with pytest.raises(UserError, match=message):
        source(
            QuestionAnswerTask,
            folder,
            QUESTIONS,
            inputs=["question", "regions"],
            **change,
        )


def test_a_box_without_its_image_needs_the_size(folder: Path) -> None:
    row = {
        "image": "b.png",
        "phrase": "the square",
        "box": [10, 10, 30, 20],
        "size": [40, 20],
    }
    inputs = ["phrase", "box", "regions"]
    data = source(GroundingTask, folder, [row], inputs=inputs)
    batch = data.collate([data[0]])
    assert batch.inputs["box"][0].tolist() == BOXES["b"][1]
    assert batch.records[0]["box"] == BOXES["b"][1]
    assert batch.inputs["regions"].boxes[0, 1].tolist() == BOXES["b"][1]
    del row["size"]
    with pytest.raises(
        UserError,
        match=r"rows.jsonl.*1: without the input 'image', a line must have 'size'",
    ):
        source(GroundingTask, folder, [row], inputs=inputs)
    with pytest.raises(UserError, match="'size' must be "):
        source(GroundingTask, folder, [row | {"size": [40, 0]}], inputs=inputs)


def test_a_sentence_as_written(folder: Path) -> None:
    rows = [
        {"images": ["a.png", "b.png"], "sentence": "Both show a ring.", "label": "yes"}
    ]
    inputs = ["left_regions", "right_regions", "sentence", "label"]
    lengths = []
    for text in ("cleaned", "as written"):
        data = source(
            TextLabelTask,
            folder,
            rows,
            inputs=inputs,
            labels=["no", "yes"],
            sentence_text=text,
        )
        lengths.append(data.collate([data[0]]).inputs["sentence"].ids.shape[1])
    assert lengths[1] == lengths[0] + 1  # the full stop
