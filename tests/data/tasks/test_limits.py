"""Numbers that a reader cannot work with, told with their place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mplug2.data.arguments import at_least
from mplug2.data.build import build_source
from mplug2.data.shapes.questions import vocabulary
from registry import StreamType, UserError, read_spec

ROOT = Path(__file__).resolve().parents[3]
IMAGE = {"image": StreamType("image", ("V", 3, 16, 16))}
VIDEO = {"video": StreamType("frames", ("V", 3, 2, 16, 16))}
SPECS: dict[str, tuple[str, dict[str, StreamType], dict[str, Any]]] = {
    "question": (
        "configs_image/vqa_shapes_tiny.yaml",
        IMAGE,
        {"question": "q", "answer": "a"},
    ),
    "sentence": (
        "configs_video/VideoEntailment_shapes_tiny.yaml",
        VIDEO,
        {"sentence": "q", "label": "yes"},
    ),
    "caption": ("configs_image/caption_shapes_tiny.yaml", IMAGE, {"caption": "c"}),
}


@pytest.mark.parametrize(
    "setting",
    [
        "questions_per_clip=0",
        "question_words=0",
        "question_words=-1",
        "question_tokens=0",
        "answer_tokens=0",
        "sentences_per_clip=0",
        "sentence_words=0",
        "sentence_tokens=-2",
        "captions_per_clip=0",
        "caption_words=0",
        "caption_tokens=0",
    ],
)
def test_a_reader_names_the_setting_and_its_place(tmp_path: Path, setting: str) -> None:
    name, types, line = SPECS[
        next((one for one in SPECS if setting.startswith(one)), "question")
    ]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary()) + "\n")
    (tmp_path / "train.jsonl").write_text(json.dumps({"video_id": "a", **line}))
    data = (
        f"data.tokenizer={tmp_path}",
        f"data.media={tmp_path}",
        f"data.train.path={tmp_path / 'train.jsonl'}",
    )
    assert len(build_source(read_spec(ROOT / name, data), types, "data", "train")) == 1
    key, value = setting.split("=")
    for place in (f"data.{key}", f"data.train.{key}"):
        spec = read_spec(ROOT / name, [*data, f"{place}={value}"])
        with pytest.raises(UserError) as caught:
            build_source(spec, types, "data", "train")
        assert (
            str(caught.value)
            == f"command line: {place}={value}: {key} must be at least 1, but is {value}"
        )


def test_without_a_spec_the_setting_alone_is_named() -> None:
    at_least(1, words=None, tokens=1)
    with pytest.raises(UserError, match=r"^tokens must be at least 2, but is 1$"):
        at_least(2, words=2, tokens=1)
