"""Whatever a public file holds, a reader gives rows that JSON keeps, or one message that names the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mplug2.data.formats.captions import captions
from mplug2.data.formats.flickr import flickr
from mplug2.data.formats.karpathy import karpathy
from mplug2.data.formats.pairs import nlvr2, snli_ve
from mplug2.data.formats.refcoco import detections, refer
from mplug2.data.formats.video_qa import tgif_frame_qa, video_qa
from mplug2.data.formats.video_text import didemo, jsfusion, lsmdc, msrvtt
from mplug2.data.formats.vqa import (
    answer_list,
    frequent_answers,
    gqa,
    mplug_list,
    visual_genome,
    vqa,
)
from registry.errors import UserError

READERS: dict[str, Callable[[Path], Any]] = {
    "captions": captions,
    "videos": partial(captions, key="video_id"),
    "flickr": flickr,
    "karpathy": partial(karpathy, splits=("a", "train")),
    "nlvr2": nlvr2,
    "snli_ve": snli_ve,
    "detections": detections,
    "refer": lambda path: refer(path, path, split="a"),
    "tgif": tgif_frame_qa,
    "video_qa": partial(video_qa, prefix="v"),
    "didemo": didemo,
    "jsfusion": jsfusion,
    "lsmdc": lsmdc,
    "msrvtt": partial(msrvtt, split="a"),
    "answers": answer_list,
    "frequent": frequent_answers,
    "gqa": gqa,
    "mplug": mplug_list,
    "genome": visual_genome,
    "vqa": vqa,
    "vqa both": lambda path: vqa(path, path),
}
_FIELDS = """
    images annotations sentences videos questions id image_id ann_id sent_id ref_id file_name image filename
    filepath split caption captions raw sent phrase question answer answers answer_type question_id video_id
    video description identifier sentence label left right gold_label Flickr30K_ID pairID bbox gt_box
    pred_boxes_img_id qas qa_id imageId data_subtype multiple_choice_answer a
"""
FIELDS = _FIELDS.split()
BELL = "\x1b]0;title\x07"  # would reach the terminal of who reads the message
values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(0, 3)
    | st.floats()
    | st.sampled_from(["a", "../a", "", "/a", "neutral", BELL]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*FIELDS, BELL]), inner, max_size=8)
    ),
    max_leaves=24,
)


def outcome(name: str, path: Path) -> list[Any] | str:
    """The rows that a reader gives, or what it says of the file."""
    try:
        return list(READERS[name](path))
    except UserError as error:
        return str(error)


@pytest.mark.parametrize("name", READERS)
@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=15,
)
@given(value=values)
@example(
    value={
        "images": [{"id": [], "file_name": "a"}],
        "annotations": [{"image_id": {}, "caption": "a"}],
    }
)
@example(value={BELL: {"a": 1}, "a": {BELL: BELL}})
@example(value=[{"split": "a", "image_id": 1, "ann_id": 1, "sentences": [{}]}])
def test_any_json_is_rows_or_a_message(tmp_path: Path, name: str, value: Any) -> None:
    path = tmp_path / "public.json"
    path.write_text(json.dumps(value))
    found = outcome(name, path)
    if isinstance(found, str):
        assert "public.json" in found
        assert found.isprintable()
    else:
        assert len(found) == len([json.loads(json.dumps(row)) for row in found])


@pytest.mark.parametrize("name", READERS)
@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=10,
)
@given(
    content=st.binary(max_size=60)
    | st.text("a,\t\n\"'|#0.jpg", max_size=80).map(str.encode)
)
def test_any_bytes_are_rows_or_a_message(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / ("public.csv" if name == "snli_ve" else "public.txt")
    path.write_bytes(content)
    found = outcome(name, path)
    assert not isinstance(found, str) or "public." in found
    packed = tmp_path / "public.txt.gz"
    packed.write_bytes(content)
    broken = outcome(name, packed)
    assert not isinstance(broken, str) or "public.txt.gz" in broken
