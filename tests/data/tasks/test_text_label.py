"""Labelled sentences about videos: the data that the shapes world writes, and their reader."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loaders import make_source

from mplug2.data.batch import Sample
from mplug2.data.shapes.questions import vocabulary
from mplug2.data.shapes.statements import LABELS, entailment_rows, statements
from mplug2.data.shapes.world import COLOURS, SHAPES, sample_scene
from mplug2.data.shapes.write import make_shapes
from mplug2.data.sources.files import FileSource
from mplug2.data.tasks.text_label import TextLabelTask
from mplug2.data.text import Tokenizer
from registry import StreamType, UserError

TYPES = {"video": StreamType("frames", ("V", 3, 6, 48, 48))}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    make_shapes(folder, train=4, val=2, test=2, workers=1)
    return folder


def reader(folder: Path, **more: Any) -> FileSource:
    given: dict[str, Any] = {
        "path": str(folder / "entailment_train.jsonl"),
        "media": str(folder / "videos"),
        "labels": list(LABELS),
        "types": TYPES,
        "tokenizer": Tokenizer.load(folder / "vocab.txt"),
        "sentences_per_clip": 6,
    }
    return make_source(TextLabelTask, **given | more)


def test_labels_are_balanced_and_the_words_alone_tell_nothing() -> None:
    rng, words = np.random.default_rng(0), set(vocabulary())
    told: dict[str, Counter[str]] = {label: Counter() for label in LABELS}
    colours: dict[str, Counter[str]] = {label: Counter() for label in LABELS}
    for index in range(2000):
        found = statements(sample_scene("drift" if index % 2 else "turns", rng), rng)
        assert Counter(label for _, _, label in found) == dict.fromkeys(LABELS, 2)
        for kind, sentence, label in found:
            assert set(sentence.split()) <= words
            told[label][kind] += 1
            if kind == "colour":
                colours[label][sentence] += 1
    assert told["yes"] == told["no"] == told["unknown"]
    # every sentence on a colour stands about equally often under each label
    for counts in colours.values():
        assert len(counts) == len(COLOURS) * len(SHAPES)
        assert max(counts.values()) < 3 * min(counts.values())


def test_statements_are_true_false_or_about_what_is_not_shown() -> None:
    rng = np.random.default_rng(1)
    for index in range(300):
        scene = sample_scene("drift" if index % 2 else "turns", rng)
        seen = {thing.shape: thing.colour for thing in scene.things}
        colours = list(seen.values())
        for kind, sentence, label in statements(scene, rng):
            _, about, *_, value = sentence.split()
            if kind == "colour":
                assert (label == "unknown") == (about not in seen)
                assert (label != "no") == (value in colours)
                holds = seen.get(about) == value
            else:
                assert (label == "unknown") == (about not in colours)
                place = 0 if kind == "motion_direction" or value == "first" else -1
                holds = about == colours[place] and value in (
                    scene.direction,
                    "first",
                    "last",
                )
            assert holds == (label == "yes")


def test_the_same_clip_has_the_same_lines() -> None:
    scene = sample_scene("drift", np.random.default_rng(2))
    assert entailment_rows("v", scene, [0, 1, 2]) == entailment_rows(
        "v", scene, [0, 1, 2]
    )
    assert entailment_rows("v", scene, [0, 1, 2]) != entailment_rows(
        "v", scene, [0, 1, 3]
    )


def test_a_batch_holds_sentences_labels_and_which_clip(shapes: Path) -> None:
    data = reader(shapes)
    assert len(data) == 4
    batch = data.collate([data[0], data[1]])
    assert batch.inputs["video"].shape == (2, 3, 6, 48, 48)
    assert batch.inputs["sentence"].ids.shape[0] == 12
    assert batch.inputs["video_index"].tolist() == [0] * 6 + [1] * 6
    assert sorted(batch.inputs["label"].tolist()) == [0] * 4 + [1] * 4 + [2] * 4
    assert batch.inputs["label"].dtype == torch.int64
    first = json.loads((shapes / "entailment_train.jsonl").read_text().splitlines()[0])
    assert batch.records[0]["answers"] == [first["label"]]
    assert batch.records[0]["question"] == first["sentence"]
    assert batch.records[0]["classes"] == ["yes", "no", "unknown"]


def test_without_an_index_each_sentence_has_its_video(shapes: Path) -> None:
    data = reader(shapes, inputs={"video", "sentence", "label"}, sentences_per_clip=2)
    batch = data.collate([data[0]])
    assert set(batch.inputs) == {"video", "sentence", "label"}
    assert len(batch.inputs["video"]) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"video_id": "a", "sentence": "b", "label": "maybe"}',
            "'label' must be one of yes, no, unknown",
        ),
        (
            '{"video_id": "a", "sentence": "b"}',
            "'sentence' and 'label', but has no 'label'",
        ),
        (
            '{"video_id": 1, "sentence": "b", "label": 3}',
            "'label' must be one of yes, no, unknown",
        ),
        (
            '{"video_id": 1, "sentence": "b", "label": ["yes"]}',
            'no, unknown (data.labels), but is ["yes"]',
        ),
        (
            '{"video_id": 1, "sentence": "b", "label": {"a": 1}}',
            '(data.labels), but is {"a": 1}',
        ),
        ("{", "'sentence' and 'label', but is not valid JSON"),
    ],
)
def test_a_wrong_line_is_named(
    line: str, message: str, shapes: Path, tmp_path: Path
) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(
        f'{{"video_id": "train_00000", "sentence": "b", "label": "yes"}}\n{line}\n'
    )
    with pytest.raises(UserError) as caught:
        reader(shapes, path=str(file))
    assert f"{file}:2: " in str(caught.value)
    assert message in str(caught.value)


here = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=30,
)


@here
@given(
    told=st.lists(
        st.tuples(
            st.sampled_from(["v", "w"]), st.text(max_size=20), st.sampled_from(LABELS)
        ),
        min_size=1,
    ),
    together=st.integers(1, 4),
    training=st.booleans(),
)
def test_any_sentences_are_shown_once_with_their_labels(
    shapes: Path,
    tmp_path: Path,
    told: list[tuple[str, str, str]],
    together: int,
    training: bool,
) -> None:
    file = tmp_path / "any.jsonl"
    keys = ("video_id", "sentence", "label")
    file.write_text(
        "".join(json.dumps(dict(zip(keys, one, strict=True))) + "\n" for one in told)
    )
    inputs = {"video", "sentence", "label", "video_index"}
    data = reader(
        shapes,
        path=str(file),
        sentences_per_clip=together,
        training=training,
        inputs=inputs,
    )
    groups = data.requests(1, seed=0)
    assert sorted(number for group in groups for number in group.items) == list(
        range(len(told))
    )
    assert all(len(group.items) <= together for group in groups)
    samples = []
    for group in groups:
        items = tuple(data.items[number] for number in group.items)
        samples.append(Sample(group, items, (torch.zeros(3, 6, 48, 48),)))
    batch = data.collate(samples)
    order = [number for group in groups for number in group.items]
    assert batch.inputs["label"].tolist() == [
        LABELS.index(told[number][2]) for number in order
    ]
    assert [record["question"] for record in batch.records] == [
        told[number][1] for number in order
    ]
    assert batch.inputs["video_index"].tolist() == [
        row for row, group in enumerate(groups) for _ in group.items
    ]
    assert len(batch.inputs["sentence"].ids) == len(told)


@here
@given(
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.sampled_from(["a", "yes", "True"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["video_id", "images", "sentence", "label"]), inner
            )
        ),
        max_leaves=8,
    )
)
def test_any_line_is_sentences_or_a_message_that_names_it(
    shapes: Path, tmp_path: Path, value: Any
) -> None:
    file = tmp_path / "any.jsonl"
    file.write_text(json.dumps(value))
    try:
        items = reader(shapes, path=str(file)).items
    except UserError as error:
        assert "any.jsonl" in str(error)
    else:
        assert all(item.label in LABELS for item in items)


@pytest.mark.parametrize("labels", [["yes"], ["yes", "yes"], []])
def test_labels_are_two_or_more_different_names(
    labels: list[str], shapes: Path
) -> None:
    with pytest.raises(UserError, match="two or more different names"):
        reader(shapes, labels=labels)
