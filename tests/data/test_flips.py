"""Random flips: none by default, media alone as released, or media together with left and right in texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loaders import make_source
from PIL import Image

from mplug2.data.arguments import ArgumentError
from mplug2.data.batch import Sample
from mplug2.data.shapes.questions import vocabulary
from mplug2.data.sources.files import FileSource
from mplug2.data.tasks.caption import CaptionTask
from mplug2.data.tasks.question_answer import QuestionAnswerTask
from mplug2.data.tasks.text_label import TextLabelTask
from mplug2.data.text import Tokenizer
from registry import StreamType

IMAGE = {"image": StreamType("image", ("V", 3, 32, 32))}
PAIR = {name: StreamType("image", ("V", 3, 32, 32)) for name in ("left", "right")}
NUM_ITEMS = 24


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image with a bright left half, and questions, captions and sentences about it."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, :16] = 255
    Image.fromarray(pixels).save(tmp_path / "half.png")
    rows = {
        "questions": {
            "image": "half.png",
            "question": "which side, Left?",
            "answer": "left",
        },
        "captions": {"image": "half.png", "caption": "a shape moves to the left"},
        "sentences": {
            "image": "half.png",
            "sentence": "the shape moves left",
            "label": "yes",
        },
        "pairs": {
            "images": ["half.png", "half.png"],
            "sentence": "left",
            "label": "yes",
        },
    }
    for name, row in rows.items():
        (tmp_path / f"{name}.jsonl").write_text((json.dumps(row) + "\n") * NUM_ITEMS)
    return tmp_path


def source(folder: Path, task: Any, name: str, **more: Any) -> FileSource:
    tokenizer = Tokenizer({word: number for number, word in enumerate(vocabulary())})
    settings: dict[str, Any] = {
        "path": str(folder / f"{name}.jsonl"),
        "media": str(folder),
        "types": IMAGE,
        "tokenizer": tokenizer,
        "training": True,
    }
    return make_source(task, **settings | more)


def samples(data: FileSource) -> list[Sample]:
    read = [data.read(request) for request in data.requests(0, 0)]
    assert all(isinstance(sample, Sample) for sample in read)
    return read  # type: ignore[return-value]


def is_mirrored(sample: Sample) -> bool:
    image = sample.views[0]
    return bool(image[0, :, 24:].mean() > image[0, :, :8].mean())


@pytest.mark.parametrize("augment", ["none", "crop", "full"])
def test_nothing_is_mirrored_by_default(folder: Path, augment: str) -> None:
    data = source(folder, QuestionAnswerTask, "questions", augment=augment)
    assert not any(is_mirrored(sample) for sample in samples(data) if augment == "none")
    assert {sample.items[0].text for sample in samples(data)} == {"which side, Left?"}
    plain = [sample.views[0] for sample in samples(data)]
    mirroring = source(
        folder, QuestionAnswerTask, "questions", augment=augment, flip="media"
    )
    flipped = [sample.views[0] for sample in samples(mirroring)]
    mirrored = [
        not torch.equal(view, other) for view, other in zip(plain, flipped, strict=True)
    ]
    assert 4 < sum(mirrored) < NUM_ITEMS - 4
    for view, other, changed in zip(plain, flipped, mirrored, strict=True):
        assert torch.equal(view.flip(-1) if changed else view, other), (
            "a flip changes no other random number"
        )


def test_media_alone_leaves_the_text(folder: Path) -> None:
    data = source(folder, QuestionAnswerTask, "questions", flip="media")
    texts = {is_mirrored(sample): sample.items[0].text for sample in samples(data)}
    assert texts == {False: "which side, Left?", True: "which side, Left?"}


@pytest.mark.parametrize(
    ("task", "name", "settings", "straight", "mirrored"),
    [
        (
            QuestionAnswerTask,
            "questions",
            {},
            "which side, Left?",
            "which side, Right?",
        ),
        (
            CaptionTask,
            "captions",
            {},
            "a shape moves to the left",
            "a shape moves to the right",
        ),
        (
            TextLabelTask,
            "sentences",
            {"labels": ["yes", "no"]},
            "the shape moves left",
            "the shape moves right",
        ),
    ],
)
def test_texts_follow_their_media(
    folder: Path,
    task: Any,
    name: str,
    settings: dict[str, Any],
    straight: str,
    mirrored: str,
) -> None:
    data = source(folder, task, name, flip="media_and_text", **settings)
    texts = {}
    for sample in samples(data):
        item = sample.items[0]
        texts[is_mirrored(sample)] = getattr(item, "text", None) or item.texts[0]
    assert texts == {False: straight, True: mirrored}


def test_answers_and_references_follow(folder: Path) -> None:
    question = QuestionAnswerTask.mirror(
        source(folder, QuestionAnswerTask, "questions").task,  # type: ignore[arg-type]
        source(folder, QuestionAnswerTask, "questions").items[0],
    )
    assert question.answers == ("right",)
    captions = source(folder, CaptionTask, "captions")
    assert (
        captions.task.mirror(captions.items[0]).references[0]
        == "a shape moves to the right"
    )  # type: ignore[attr-defined]


def test_evaluation_mirrors_nothing(folder: Path) -> None:
    data = source(
        folder, QuestionAnswerTask, "questions", flip="media_and_text", training=False
    )
    assert not any(is_mirrored(sample) for sample in samples(data))


def test_each_image_of_a_pair_is_mirrored_by_itself(folder: Path) -> None:
    data = source(
        folder, TextLabelTask, "pairs", labels=["yes", "no"], types=PAIR, flip="media"
    )
    kinds = set()
    for sample in samples(data):
        kinds.add(
            tuple(
                bool(view[0, :, 24:].mean() > view[0, :, :8].mean())
                for view in sample.views
            )
        )
    assert len(kinds) == 4


def test_a_pair_cannot_take_its_text_along(folder: Path) -> None:
    with pytest.raises(ArgumentError, match="mirrors one file, but a sample has two"):
        source(
            folder,
            TextLabelTask,
            "pairs",
            labels=["yes", "no"],
            types=PAIR,
            flip="media_and_text",
        )


class Unmirrored(QuestionAnswerTask):
    """A task of a package that cannot mirror its texts."""

    mirror = property()  # type: ignore[assignment]


def test_a_task_without_mirror_is_refused(folder: Path) -> None:
    with pytest.raises(
        ArgumentError,
        match=r"needs a task with mirror\(item\), but Unmirrored has none",
    ):
        source(folder, Unmirrored, "questions", flip="media_and_text")
