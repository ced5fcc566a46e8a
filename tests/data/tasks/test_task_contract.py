"""Every registered reader supplies what it declares: each output, of its kind, with axes that agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mplug2  # noqa: F401  (fills the registries)
from modules.streams import Text
from mplug2.data.build import build_source
from mplug2.data.shapes.write import make_shapes
from mplug2.data.tasks.reader import VIEWS
from registry import TASKS, StreamType, parse_spec, read_type

# for each reader: what annotates each view, and the arguments without which it supplies less
SMALL: dict[str, tuple[dict[str, str], str]] = {
    "question_answer": ({"video": "qa", "image": "vqa"}, "questions_per_clip: 2, answer_list: {path}"),
    "caption": ({"video": "captions", "image": "retrieval"}, "prompt: a video of"),
    "grounding": ({"image": "phrases"}, "phrases_per_image: 2"),
    "retrieval": ({"video": "video_retrieval", "image": "retrieval"}, "captions_per_clip: 2"),
    "text_label": (
        {"video": "entailment", "image": "image_entailment", "left": "pairs"},
        "sentences_per_clip: 2, labels: ['yes', 'no', unknown, 'True', 'False']",
    ),
}
SIZES: dict[str, int] = {"T": 3, "H": 48, "W": 48}
WHOLE = ("index", "labels")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    make_shapes(folder, train=4, val=0, test=0, workers=1)
    return folder


def form(kind: str, value: Any) -> tuple[int, ...]:
    """Return the shape of a value that is as its kind must be."""
    if kind == "text":
        assert isinstance(value, Text)
        assert (value.ids.dtype, value.mask.dtype) == (torch.int64, torch.bool)
        assert value.ids.shape == value.mask.shape
        return tuple(value.ids.shape)
    if kind == "strings":
        assert isinstance(value, list)
        return (len(value),)
    assert isinstance(value, Tensor)
    assert value.dtype == (torch.int64 if kind in WHOLE else torch.float32)
    return tuple(value.shape)


@pytest.mark.parametrize("training", ["training", "evaluation"])
@pytest.mark.parametrize("name", TASKS.names())
def test_what_is_declared_comes(name: str, training: str, shapes: Path) -> None:
    annotations, arguments = SMALL[name]
    declared = {key: read_type(str(port)) for key, port in TASKS.declaration(name).outputs.items()}
    views = [view for view in VIEWS if set(view) <= set(declared)]
    assert sorted(annotations) == sorted(view[0] for view in views)
    for view in views:
        other = {*sum(VIEWS, ()), "picture" if view == ("video",) else "clip"} - set(view)
        wanted = {key: kind for key, kind in declared.items() if key not in other}
        path, media = (
            shapes / f"{annotations[view[0]]}_train.jsonl",
            "videos" if "video" in view else "images",
        )
        data = f"kind: {name}, tokenizer: {shapes}/vocab.txt, media: {shapes}/{media}, {arguments}"
        spec = parse_spec(
            f"inputs: {{{', '.join(f'{key}: {kind}' for key, kind in wanted.items())}}}\n"
            f"data: {{{data.format(path=path)}, train: {{path: {path}}}}}\n"
        )
        types = {
            key: StreamType(kind.kind, tuple(SIZES.get(str(one), one) for one in kind.axes))
            for key, kind in wanted.items()
        }
        reader = build_source(spec, types, "data", "train", training=training == "training")
        batch = reader.collate([reader[0], reader[1]])
        assert set(batch.inputs) == set(wanted)
        sizes: dict[str, int] = {}
        for key, kind in types.items():
            found = form(kind.kind, batch.inputs[key])
            assert len(found) == len(kind.axes), key
            for axis, size in zip(kind.axes, found, strict=True):
                assert size == (axis if isinstance(axis, int) else sizes.setdefault(axis, size)), (key, kind)
        assert len(batch.records) in sizes.values()
        assert int(batch.inputs["clip" if "video" in view else "picture"].max()) < sizes["V"]
