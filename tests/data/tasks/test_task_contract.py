"""Registered tasks and sources keep their protocols: what is declared comes, with axes that agree."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mplug2  # noqa: F401  (fills the registries)
from modules.streams import Regions, Text
from mplug2.data.batch import Sample
from mplug2.data.build import build_source
from mplug2.data.byte_tokenizer import ByteTokenizer
from mplug2.data.shapes.write import make_shapes
from mplug2.data.tasks.media_task import REGIONS, VIEWS
from registry import SOURCES, TASKS, StreamType, parse_spec, read_type

# For each task: the file for each kind of media (() for text alone), and arguments to supply all inputs.
SMALL: dict[str, tuple[dict[tuple[str, ...], str], str]] = {
    "question_answer": (
        {("video",): "qa", ("image",): "vqa"},
        "questions_per_clip: 2, answer_list: {path}",
    ),
    "caption": (
        {("video",): "captions", ("image",): "retrieval"},
        "prompt: a video of",
    ),
    "grounding": ({("image",): "phrases"}, "phrases_per_image: 2"),
    "region_phrases": ({("region_image",): "phrases"}, "phrases_per_image: 3"),
    "media_class": (
        {("video",): "motions", ("image",): "image_classes"},
        "labels: [left, right, up, down, circle, square, triangle, cross, ring]",
    ),
    "retrieval": (
        {("video",): "video_retrieval", ("image",): "retrieval"},
        "captions_per_clip: 2",
    ),
    "pretrain_caption": (
        {("video",): "video_retrieval", ("image",): "retrieval"},
        "instruction: what is in the image",
    ),
    "text_class": ({(): "sentences"}, "labels: [entailment, contradiction, neutral]"),
    "plain_text": (
        {(): "sentences"},
        "template: '[CLS] {{sentence1}} [SEP] {{sentence2}}'",
    ),
    "text_value": ({(): "values"}, "value_range: [0.0, 5.0]"),
    "text_label": (
        {
            ("video",): "entailment",
            ("image",): "image_entailment",
            ("left", "right"): "pairs",
        },
        "sentences_per_clip: 2, labels: ['yes', 'no', unknown, 'True', 'False']",
    ),
}
SIZES: dict[str, int] = {"T": 3, "H": 48, "W": 48, "classes": 9, "patches": 36}
WHOLE = ("index", "labels")
CASES = [(name, views) for name, (files, _) in SMALL.items() for views in files]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    make_shapes(folder, train=8, val=0, test=0, workers=1)
    rows = [
        {"sentence1": "a ring", "sentence2": f"{number} rings", "score": number}
        for number in range(4)
    ]
    (folder / "values_train.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows)
    )
    return folder


def form(kind: str, value: Any) -> tuple[int, ...]:
    """Return the shape of a value that is as its kind must be."""
    if kind == "text":
        assert isinstance(value, Text)
        assert (value.ids.dtype, value.mask.dtype) == (torch.int64, torch.bool)
        assert value.ids.shape == value.mask.shape
        return tuple(value.ids.shape)
    if kind == "regions":
        assert isinstance(value, Regions)
        assert value.features.shape[:2] == value.boxes.shape[:2]
        return tuple(value.features.shape)
    if kind == "strings":
        assert isinstance(value, list)
        return (len(value),)
    assert isinstance(value, Tensor)
    assert value.dtype == (torch.int64 if kind in WHOLE else torch.float32)
    return tuple(value.shape)


def test_every_task_is_tested() -> None:
    assert set(SMALL) == set(TASKS.names())
    for name, (files, _) in SMALL.items():
        outputs = TASKS.declaration(name).outputs
        media = {views for views in VIEWS if set(views) <= set(outputs)}
        assert set(files) == (media or {()})


@pytest.mark.parametrize("training", ["training", "evaluation"])
@pytest.mark.parametrize(("name", "views"), CASES)
def test_what_is_declared_comes(
    name: str, views: tuple[str, ...], training: str, shapes: Path
) -> None:
    files, arguments = SMALL[name]
    declared = {
        key: read_type(str(port))
        for key, port in TASKS.declaration(name).outputs.items()
    }
    other = {
        *sum(VIEWS, ()),
        "image_index" if views == ("video",) else "video_index",
    } - set(views)
    # Regions are those of images: one file or two.
    other |= {
        name
        for names in REGIONS
        for name in names
        if len(names) != len(views) or "video" in views
    }
    inputs = {key: kind for key, kind in declared.items() if key not in other}
    path = shapes / f"{files[views]}_train.jsonl"
    media = (
        f"media: {shapes}/{'videos' if 'video' in views else 'images'}, "
        if views
        else ""
    )
    regions = (
        f"regions: {shapes}/images_train.jsonl, region_image_size: 48, "
        if views
        else ""
    )
    data = f"task: {name}, tokenizer: {shapes}/vocab.txt, {media}{regions}{arguments.format(path=path)}"
    spec = parse_spec(
        f"inputs: {{{', '.join(f'{key}: {kind}' for key, kind in inputs.items())}}}\n"
        f"data: {{{data}, train: {{path: {path}}}}}\n"
    )
    types = {
        key: StreamType(
            kind.kind, tuple(SIZES.get(str(axis), axis) for axis in kind.axes)
        )
        for key, kind in inputs.items()
    }
    source = build_source(spec, types, "data", "train", training=training == "training")
    samples = [source.read(request) for request in source.requests(0, 0)[:2]]
    batch = source.collate([sample for sample in samples if isinstance(sample, Sample)])
    assert set(batch.inputs) == set(inputs)
    sizes: dict[str, int] = {}
    for key, kind in types.items():
        shape = form(kind.kind, batch.inputs[key])
        assert len(shape) == len(kind.axes), key
        for axis, size in zip(kind.axes, shape, strict=True):
            assert size == (
                axis if isinstance(axis, int) else sizes.setdefault(axis, size)
            ), (key, kind)
    assert len(batch.records) in sizes.values()
    assert json.loads(json.dumps(batch.records)) == batch.records
    if views and "image_index" in declared:
        assert (
            int(
                batch.inputs["video_index" if "video" in views else "image_index"].max()
            )
            < sizes["V"]
        )

    # What prediction, batches by tokens, data check and worker processes need.
    question = source.task.question(
        "a red circle" if views else "a red circle [SEP] the circle is red"
    )
    assert json.dumps(source.task.record(question, None))
    if hasattr(source.task, "tokenizer"):
        assert all(source.num_tokens(request) > 0 for request in source.requests(0, 0))
    assert len(source.records()) == len(source.items)
    assert pickle.loads(pickle.dumps(source.task)).outputs == source.task.outputs


# Their files hold media: they are tested in files of their own.
WITH_MEDIA = {"arrow", "shards"}


@pytest.mark.parametrize("name", sorted(set(SOURCES.names()) - WITH_MEDIA))
@pytest.mark.parametrize("training", [True, False])
def test_every_source_gives_each_sample_once_in_an_order_of_seed_and_epoch(
    name: str, training: bool, shapes: Path
) -> None:
    labels = ["entailment", "contradiction", "neutral"]
    task = TASKS.load("text_class")(labels=labels, tokenizer=ByteTokenizer())
    path = shapes / "sentences_train.jsonl"
    where: dict[str, Any] = {
        "path": str(path),
        "items": task.read(path),
        "text_file": str(path),
    }
    num_items = len(where["items"])
    if name == "text_file":
        num_items = -(-path.stat().st_size // 384)
        task = TASKS.load("plain_text")(tokenizer=ByteTokenizer(), template="{text}")
    source = SOURCES.load(name)(**{name: where[name]}, task=task, training=training)
    requests = source.requests(1, 7)
    assert len(requests) == len(source) == num_items
    assert sorted(request.items for request in requests) == [
        (number,) for number in range(num_items)
    ]
    assert [request.items for request in source.requests(1, 7)] == [
        request.items for request in requests
    ]
    changed = [request.items for request in source.requests(2, 7)] != [
        request.items for request in requests
    ]
    assert changed == training
    first, again = (source.read(requests[3]) for _ in range(2))
    assert first.items == again.items == (source.items[requests[3].items[0]],)
    assert source.collate([first]).records[0]["question_id"] == requests[3].items[0]
    if name != "text_file":
        assert list(source.items) == task.read(path)
    assert source.names() == []
    assert isinstance(source.fingerprint(), int)
