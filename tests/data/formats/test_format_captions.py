"""Captions and split lists in the shapes that are published."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from mplug2.data.formats.captions import captions, drop_listed, keep_listed, names
from mplug2.data.formats.flickr import flickr
from mplug2.data.formats.karpathy import karpathy
from mplug2.data.formats.video_text import didemo, jsfusion, lsmdc, msrvtt
from registry.errors import UserError


def saved(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (
            {
                "images": [{"id": 7, "file_name": "COCO_val2014_000000000007.jpg"}],
                "annotations": [{"image_id": 7, "caption": "a\n dog ", "id": 1}],
            },
            {"val2014/COCO_val2014_000000000007.jpg": ["a dog"]},
        ),
        (
            {
                "images": [{"id": 7, "file_name": "000000000007.jpg"}],
                "annotations": [{"image_id": 7, "caption": "a"}],
            },
            {"val2017/000000000007.jpg": ["a"]},
        ),
        (
            [{"image_id": 7, "caption": "a"}, {"image_id": 7, "caption": "b"}],
            {"val2017/000000000007.jpg": ["a", "b"]},
        ),
        (
            {"x.jpg": ["a", "b"], "y.jpg": ["c"]},
            {"val2017/x.jpg": ["a", "b"], "val2017/y.jpg": ["c"]},
        ),
        ({"x.jpg": {"12": "a", "13": "b"}}, {"val2017/x.jpg": ["a", "b"]}),
        (
            '{"image": "d/x.jpg", "captions": ["a"]}\n\n{"image": "d/y.jpg", "captions": ["b"]}\n',
            {"d/x.jpg": ["a"], "d/y.jpg": ["b"]},
        ),
    ],
)
def test_captions_of_many_shapes(
    tmp_path: Path, value: Any, found: dict[str, list[str]]
) -> None:
    rows = captions(saved(tmp_path / "captions.json", value), folder="val2017")
    assert {row["image"]: row["caption"] for row in rows} == found


def test_a_line_ends_at_a_newline_alone(tmp_path: Path) -> None:
    (tmp_path / "t.token").write_bytes(
        "a.jpg#0\tone\u2028two\x85three\r\na.jpg#1\tfour\n".encode()
    )
    assert list(flickr(tmp_path / "t.token")) == [
        {"image": "a.jpg", "caption": ["one two three", "four"]}
    ]


def test_packed_files_are_read_as_plain_ones(tmp_path: Path) -> None:
    (tmp_path / "c.json.gz").write_bytes(gzip.compress(b'{"v1": ["a"]}'))
    assert list(captions(tmp_path / "c.json.gz", key="video_id")) == [
        {"video_id": "v1", "caption": ["a"]}
    ]


def test_nocaps_tells_its_domain(tmp_path: Path) -> None:
    value = {
        "images": [{"id": 0, "file_name": "0013.jpg", "domain": "near-domain"}],
        "annotations": [
            {"image_id": 0, "caption": "a"},
            {"image_id": 0, "caption": "b"},
        ],
    }
    assert list(captions(saved(tmp_path / "n.json", value))) == [
        {"image": "0013.jpg", "caption": ["a", "b"], "type": "near-domain"}
    ]


def test_karpathy_takes_some_splits(tmp_path: Path) -> None:
    images = [
        {
            "filename": f"{split}.jpg",
            "split": split,
            "sentences": [{"raw": f"of {split}"}],
        }
        for split in ("train", "restval", "val", "test")
    ]
    images[0]["filepath"] = "train2014"
    path = saved(tmp_path / "dataset_coco.json", {"images": images, "dataset": "coco"})
    assert [row["image"] for row in karpathy(path, splits=("train", "restval"))] == [
        "train2014/train.jpg",
        "restval.jpg",
    ]
    assert list(karpathy(path, splits=("val",))) == [
        {"image": "val.jpg", "caption": ["of val"]}
    ]


def test_both_forms_of_flickr(tmp_path: Path) -> None:
    tokens = saved(
        tmp_path / "results.token",
        "1.jpg#0\tA dog .\n1.jpg#1\tIt runs .\n2.jpg#0\tA cat .\n",
    )
    table = saved(
        tmp_path / "captions.txt",
        'image,caption\n1.jpg,A dog .\n1.jpg,"It, too, runs ."\n',
    )
    assert [row["caption"] for row in flickr(tokens)] == [
        ["A dog .", "It runs ."],
        ["A cat ."],
    ]
    assert [row["caption"] for row in flickr(table)] == [["A dog .", "It, too, runs ."]]
    listed = saved(
        tmp_path / "train.txt", "2\n"
    )  # the lists of Flickr30k have no suffixes
    assert [row["image"] for row in keep_listed(flickr(tokens), names(listed))] == [
        "2.jpg"
    ]
    assert [row["image"] for row in drop_listed(flickr(tokens), names(listed))] == [
        "1.jpg"
    ]


def test_videos_with_sentences(tmp_path: Path) -> None:
    value = {
        "videos": [
            {"video_id": "video0", "split": "train"},
            {"video_id": "video1", "split": "validate"},
        ],
        "sentences": [
            {"video_id": f"video{number}", "caption": "a", "sen_id": 3}
            for number in (1, 0, 1)
        ],
    }
    path = saved(tmp_path / "train_val_videodatainfo.json", value)
    assert list(msrvtt(path, split="validate")) == [
        {"video_id": "video1", "caption": ["a", "a"]}
    ]
    table = saved(
        tmp_path / "t.csv",
        "key,vid_key,video_id,sentence\nret0,msr1,video1,a boy plays\n",
    )
    assert list(jsfusion(table)) == [{"video_id": "video1", "caption": ["a boy plays"]}]
    clip = "0001_American_Beauty_00.00.51.926-00.00.54.129"
    row = f'{clip}\t0\t1\t0\t1\tSOMEONE says "no" and goes.\n'
    assert list(lsmdc(saved(tmp_path / "l.csv", row))) == [
        {
            "video_id": f"0001_American_Beauty/{clip}",
            "caption": ['SOMEONE says "no" and goes.'],
        }
    ]
    told = [("x.mov", "first."), ("y.avi", "other"), ("x.m4v", "then")]
    moments = saved(
        tmp_path / "d.json",
        [{"video": video, "description": said} for video, said in told],
    )
    assert list(didemo(moments)) == [
        {"video_id": "x", "caption": ["first. then"]},
        {"video_id": "y", "caption": ["other"]},
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            '[{"image_id": 1}]',
            "entry 1: there must be 'caption' or 'captions', but there is \"image_id\"",
        ),
        (
            '[{"image_id": 1, "caption": 3}]',
            "'caption' must be a text or a list of texts, but is 3",
        ),
        (
            '{"images": [{"id": 2, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "caption": "a"}]}',
            "annotations: entry 1: the image 1 must be among 'images'",
        ),
        ('{"../../x.jpg": ["a"]}', "must stay inside the media folder"),
        (
            '[{"image": "/etc/x.jpg", "caption": "a"}]',
            "must stay inside the media folder",
        ),
        (
            '{"image": "a.jpg", "caption": "a"}\n{"image": ',
            r"bad\.json:2: a line must be a JSON object",
        ),
        ('{"image": ', "must be JSON, but is not"),
        ("[1]", "entry 1: an entry must be a JSON object, but is 1"),
        (
            "3",
            "must be a mapping with 'annotations' or 'sentences', or a list, but is int",
        ),
        ("[" * 100_000, "must be JSON, but is nested too deeply"),
    ],
)
def test_a_mistake_is_told_with_its_place(
    tmp_path: Path, value: str, said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        list(captions(saved(tmp_path / "bad.json", value)))
    assert str(caught.value).startswith(str(tmp_path / "bad.json"))


def test_a_table_with_a_short_row_and_a_line_without_a_tab(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"t\.csv:3: a row must have 4 columns, but has 2"
    ):
        list(
            jsfusion(
                saved(
                    tmp_path / "t.csv", "key,vid_key,video_id,sentence\na,b,c,d\na,b\n"
                )
            )
        )
    with pytest.raises(
        UserError, match=r"t\.csv:2: a row must have 4 columns, but has 5"
    ):
        list(
            jsfusion(
                saved(tmp_path / "t.csv", "key,vid_key,video_id,sentence\na,b,c,d,e\n")
            )
        )
    with pytest.raises(
        UserError, match=r"r\.token:2: a line must be IMAGE\.jpg#NUMBER"
    ):
        list(flickr(saved(tmp_path / "r.token", "1.jpg#0\tA dog .\n1.jpg A dog\n")))
    with pytest.raises(UserError, match=r"gone\.txt cannot be read"):
        list(flickr(tmp_path / "gone.txt"))
