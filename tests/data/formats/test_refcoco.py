"""Phrases and boxes of the refer toolkit, whose pickles may not run anything."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mplug2.data.formats.pickles import read_plain_pickle
from mplug2.data.formats.refcoco import detections, expressions, refer
from registry.errors import UserError

REFS: list[dict[str, Any]] = [
    {"ref_id": 1, "ann_id": 5, "image_id": 9, "split": "train", "file_name": "COCO_9_5.jpg",
     "sentences": [{"sent": "the man", "raw": "The man", "sent_id": 0, "tokens": ["the", "man"]},
                   {"sent": "left guy", "raw": "left guy", "sent_id": 1, "tokens": ["left", "guy"]}]},
    {"ref_id": 2, "ann_id": 6, "image_id": 9, "split": "testA", "file_name": "COCO_9_6.jpg",
     "sentences": [{"sent": "caf\u00e9", "raw": "caf\u00e9", "sent_id": 2, "tokens": ["caf\u00e9"]}]},
]  # fmt: skip
INSTANCES = {
    "images": [
        {
            "id": 9,
            "file_name": "COCO_train2014_000000000009.jpg",
            "width": 640,
            "height": 480,
        }
    ],
    "annotations": [
        {"id": 5, "bbox": [10.5, 20, 30, 40.25]},
        {"id": 6, "bbox": [0, 0, 5, 5]},
    ],
    "categories": [],
}


@pytest.fixture
def instances(tmp_path: Path) -> Path:
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(INSTANCES))
    return path


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_refs_are_read_from_every_kind_of_pickle(
    tmp_path: Path, instances: Path, protocol: int
) -> None:
    path = tmp_path / "refs(unc).p"
    path.write_bytes(pickle.dumps(REFS, protocol))
    rows = list(refer(path, instances, split="train"))
    assert rows == [
        {"image": "train2014/COCO_train2014_000000000009.jpg", "phrase": phrase, "question_id": number,
         "box": [10.5, 20, 40.5, 60.25], "size": [640, 480]}
        for number, phrase in enumerate(["the man", "left guy"])
    ]  # fmt: skip
    assert [row["phrase"] for row in refer(path, instances, split="testA")] == [
        "caf\u00e9"
    ]


def test_refs_are_read_from_json_too(tmp_path: Path, instances: Path) -> None:
    path = tmp_path / "refs(unc).json"
    path.write_text(json.dumps(REFS))
    assert len(list(refer(path, instances, split="train"))) == 2


def test_a_pickle_of_python_2_is_read(tmp_path: Path) -> None:
    path = (
        tmp_path / "old.p"
    )  # a byte string under a key that is one, as Python 2 wrote texts
    path.write_bytes(b"\x80\x02]q\x00}q\x01U\x04sentq\x02U\x05caf\xc3\xa9sa.")
    assert read_plain_pickle(path) == [{"sent": "caf\u00e9"}]


class Runs:
    """What an attacker would pickle."""

    folder = "made-by-a-pickle"  # in the folder that a test works in

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    "value", [Runs(), [1, {"a": Runs()}], Path("x"), {1, 2}.__class__, 1j]
)
def test_a_pickle_that_names_anything_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: Any, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "refs.p"
    path.write_bytes(pickle.dumps(value, protocol))
    with pytest.raises(
        UserError,
        match=r"refs\.p: a pickle must hold lists.*but at byte \d+ has .*GLOBAL",
    ):
        read_plain_pickle(path)
    assert not Path(Runs.folder).exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        pickle.dumps(REFS)[:-20],
        b"\x80\x02]r\xff\xff\xff\x7f.",  # a place in its memory that would take gigabytes
        b"\x80\x02U\xffshort.",
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fa.",
        b"h\x05.",
        b"\x80\x02}]K\x01s.",  # a list as a key
    ],
)
def test_a_broken_pickle_is_one_message(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "refs.p"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"refs\.p"):
        read_plain_pickle(path)


plain: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(), inner, max_size=4)
        | st.tuples(inner)
    ),
    max_leaves=12,
)


@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=80,
)
@given(
    value=plain,
    protocol=st.integers(0, 5),
    place=st.integers(0, 400),
    byte=st.integers(0, 255),
)
def test_plain_data_survives_and_damage_is_a_message(
    tmp_path: Path, value: Any, protocol: int, place: int, byte: int
) -> None:
    content = pickle.dumps(value, protocol)
    path = tmp_path / "any.p"
    path.write_bytes(content)
    assert read_plain_pickle(path) == value
    damaged = bytearray(content)
    damaged[place % len(content)] = byte
    path.write_bytes(damaged)
    try:
        read_plain_pickle(path)
    except UserError as error:
        assert "any.p" in str(error)


def test_a_text_with_an_escape_that_python_does_not_write_is_damage(
    tmp_path: Path,
) -> None:
    path = tmp_path / "any.p"
    path.write_bytes(b"S'\\u'\n.")
    with pytest.raises(UserError, match="cannot be read"):
        read_plain_pickle(path)


odd: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.integers(0, 9)
    | st.binary(max_size=2)
    | st.sampled_from(["train", "a", float("nan")]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(
            st.sampled_from(
                ["split", "image_id", "ann_id", "sentences", (1, 2), 7, b"x"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=80,
)
@given(value=odd)
@example(value=[{(1, 2): 3}])
@example(value={(1, 2): {"split": {(3,): b"x"}}})
def test_a_pickle_of_other_data_is_a_message(
    tmp_path: Path, instances: Path, value: Any
) -> None:
    path = tmp_path / "refs(any).p"
    path.write_bytes(pickle.dumps(value, 2))
    try:
        assert isinstance(list(refer(path, instances, split="train")), list)
    except UserError as error:
        assert "refs(any).p" in str(error)


def test_what_does_not_fit_together_is_named(tmp_path: Path, instances: Path) -> None:
    path = tmp_path / "refs.json"
    path.write_text(json.dumps([{**REFS[0], "ann_id": 77}]))
    with pytest.raises(
        UserError,
        match=r"entry 1: annotation 77 must be in .*instances\.json, but is not",
    ):
        list(refer(path, instances, split="train"))
    instances.write_text(
        json.dumps({**INSTANCES, "annotations": [{"id": 5, "bbox": [1, 2, 0, 4]}]})
    )
    path.write_text(json.dumps(REFS[:1]))
    with pytest.raises(
        UserError, match=r"'bbox' must be \[x, y, width, height\] with an area"
    ):
        list(refer(path, instances, split="train"))


def test_detections_and_expressions(tmp_path: Path) -> None:
    path = tmp_path / "dets.json"
    told = {
        "sent": "man",
        "gt_box": [1, 2, 3, 4],
        "pred_boxes_img_id": ["COCO_train2014_000000000009_0.jpg"],
    }
    path.write_text(json.dumps([told]))
    assert list(detections(path)) == [
        {"image": "train2014/COCO_train2014_000000000009.jpg", "phrase": "man", "box": [1, 2, 4, 6],
         "question_id": 0}
    ]  # fmt: skip
    path.write_text(
        json.dumps({"predictions": [{"sent": "man in black", "ref_id": 47}]})
    )
    assert list(expressions(path)) == [(47, "man in black")]
