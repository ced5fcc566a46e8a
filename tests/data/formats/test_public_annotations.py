"""Every public annotation file at hand is read and counted, with its images or videos by its reader."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loaders import make_source

from mplug2.data.formats.captions import captions, keep_listed, names
from mplug2.data.formats.flickr import flickr
from mplug2.data.formats.pairs import nlvr2, snli_ve
from mplug2.data.formats.refcoco import detections, expressions
from mplug2.data.formats.video_qa import tgif_frame_qa, video_qa
from mplug2.data.formats.video_text import didemo, jsfusion
from mplug2.data.formats.vqa import answer_list, vqa
from mplug2.data.prepare import prepare
from mplug2.data.tasks.caption import CaptionTask, RetrievalTask
from mplug2.data.tasks.grounding import GroundingTask
from mplug2.data.tasks.question_answer import QuestionAnswerTask
from mplug2.data.tasks.text_label import TextLabelTask
from mplug2.data.text import Tokenizer
from registry.language.ports import StreamType

Rows = Callable[..., Iterable[Any]]
LABELS = ["contradiction", "neutral", "entailment"]
_videos = partial(captions, key="video_id")
_numbered = partial(video_qa, prefix="vid")

# reader, files below data/annotations, rows, captions or files in them
COUNTED: list[tuple[str, Rows, list[str], int, int]] = [
    ("nlvr2 dev", nlvr2, ["nlvr2/dev.json.gz"], 6982, 4051 * 2),
    ("nlvr2 test1", nlvr2, ["nlvr2/test1.json.gz"], 6967, 4041 * 2),
    ("nlvr2 balanced", nlvr2, ["nlvr2/balanced_dev.json.gz"], 2300, 2300),
    ("snli_ve dev", snli_ve, ["snli_ve/esnlive_dev.csv.gz"], 14339, 1000),
    ("snli_ve test", snli_ve, ["snli_ve/esnlive_test.csv.gz"], 14740, 1000),
    ("flickr8k", flickr, ["flickr8k/captions.txt.gz"], 8091, 8091),
    ("coco 500", captions, ["coco/captions_500.json"], 500, 500),
    ("coco 80", captions, ["coco/caps_boxes_coco2014_val_80.jsonl"], 80, 80),
    (
        "refcoco testA",
        detections,
        ["refcoco/testA_refcoco_unc_dets_sample.json"],
        50,
        0,
    ),
    ("didemo val", didemo, ["didemo/val_data.json.gz"], 1065, 1065),
    ("didemo test", didemo, ["didemo/test_data.json.gz"], 1004, 1004),
    ("msrvtt 1k-A", jsfusion, ["msrvtt/MSRVTT_JSFUSION_test.csv.gz"], 1000, 1000),
    ("msrvtt val", _videos, ["msrvtt/val_captions.json.gz"], 497, 497),
    ("msrvtt test", _videos, ["msrvtt/test_captions.json.gz"], 2990, 2990),
    ("msrvtt coco", _videos, ["msrvtt/cap_val_coco_format.json.gz"], 497, 497),
    (
        "msrvtt qa",
        partial(video_qa, prefix="video"),
        ["msrvtt_qa/qa_val.json.gz"],
        12278,
        497,
    ),
    ("msvd", _videos, ["msvd/captions_msvd.json.gz"], 1970, 1970),
    ("msvd qa val", _numbered, ["msvd_qa/val_qa.json.gz"], 6415, 245),
    ("msvd qa test", _numbered, ["msvd_qa/test_qa.json.gz"], 13157, 504),
    ("tgif", tgif_frame_qa, ["tgif_qa/Test_frameqa_question.csv.gz"], 13691, 7132),
]


# The same readers read them as other files.
LONG = ("nlvr2 dev", "nlvr2 test1", "snli_ve test", "msrvtt qa", "msvd qa test")
FILES = [
    pytest.param(*case, id=name, marks=pytest.mark.slow if name in LONG else ())
    for name, *case in COUNTED
]


@pytest.mark.parametrize(("read", "files", "rows", "media"), FILES)
def test_public_files_are_read_and_counted(
    shared: Path, read: Rows, files: list[str], rows: int, media: int
) -> None:
    found = list(read(*(shared / "data/annotations" / file for file in files)))
    assert len(found) == rows
    seen = {
        name
        for row in found
        for name in row.get("images") or [row.get("video_id", row.get("image"))]
    }
    assert len(seen) == (media or len(seen))
    assert found == json.loads(json.dumps(found)), "rows are what a line of JSON keeps"


def test_captions_are_counted(shared: Path) -> None:
    folder = shared / "data/annotations"
    told = {
        "flickr8k": flickr(folder / "flickr8k/captions.txt.gz"),
        "test": _videos(folder / "msrvtt/test_captions.json.gz"),
        "val": _videos(folder / "msrvtt/val_captions.json.gz"),
        "coco format": _videos(folder / "msrvtt/cap_val_coco_format.json.gz"),
        "msvd": _videos(folder / "msvd/captions_msvd.json.gz"),
    }
    counts = {
        name: sum(len(row["caption"]) for row in rows) for name, rows in told.items()
    }
    assert counts == {
        "flickr8k": 40455,
        "test": 59800,
        "val": 9940,
        "coco format": 9940,
        "msvd": 80827,
    }


def test_both_files_of_the_validation_videos_say_the_same(shared: Path) -> None:
    folder = shared / "data/annotations/msrvtt"
    ours, coco = (
        {row["video_id"]: sorted(row["caption"]) for row in _videos(folder / name)}
        for name in ("val_captions.json.gz", "cap_val_coco_format.json.gz")
    )
    assert ours == coco


def test_splits_and_labels(shared: Path) -> None:
    folder = shared / "data/annotations"
    lists = {
        part: names(folder / f"flickr8k/Flickr_8k.{part}Images.txt.gz")
        for part in ("train", "dev", "test")
    }
    photos = list(flickr(folder / "flickr8k/captions.txt.gz"))
    assert [len(list(keep_listed(photos, lists[part]))) for part in lists] == [
        6000,
        1000,
        1000,
    ]
    assert [
        len(names(folder / f"coco/karpathy_{part}_images.txt.gz"))
        for part in ("val", "test")
    ] == [
        5000,
        5000,
    ]
    truth = [row["label"] for row in nlvr2(folder / "nlvr2/dev.json.gz")]
    assert (truth.count("True"), truth.count("False")) == (3551, 3431)
    assert {
        row["label"] for row in snli_ve(folder / "snli_ve/esnlive_dev.csv.gz")
    } == set(LABELS)
    assert (
        len(list(expressions(folder / "refcoco/sample_expressions_testA.json"))) == 1984
    )
    assert len(answer_list(folder / "vqa/trainval_label2ans.json")) == 3128, (
        "3129 with the empty one"
    )
    for name in ("vqa", "gqa"):
        listed, mapped = (
            f"{name}/trainval_{kind}.json" for kind in ("label2ans", "ans2label")
        )
        assert answer_list(folder / listed) == answer_list(folder / mapped)


def made(
    reader: Any,
    rows: Iterable[dict[str, Any]],
    media: Path,
    path: Path,
    kind: str,
    **more: Any,
) -> Any:
    """A reader over some rows, for the media that it declares."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    inputs = {"pair": ("left", "right"), "image": ("image",), "video": ("video",)}[kind]
    stream = (
        StreamType("frames", ("V", 3, 2, 24, 24))
        if kind == "video"
        else StreamType("image", ("V", 3, 24, 24))
    )
    vocabulary = Tokenizer.load(str(more.pop("vocabulary")))
    types = dict.fromkeys(inputs, stream)
    return make_source(
        reader,
        path=str(path),
        media=str(media),
        types=types,
        tokenizer=vocabulary,
        **more,
    )


def batch(reader: Any) -> Any:
    """One batch of all samples; none of the files may be broken."""
    samples = [reader[number] for number in range(len(reader))]
    assert not [sample.reason for sample in samples if hasattr(sample, "reason")]
    return reader.collate(samples)


def test_readers_take_the_rows_with_their_real_media(
    shared: Path, tmp_path: Path
) -> None:
    images, vocabulary = (
        shared / "data/images",
        shared / "data/text/bert-base-uncased-vocab.txt",
    )

    def through(
        reader: Any, rows: Iterable[dict[str, Any]], media: Path, kind: str, **more: Any
    ) -> Any:
        return batch(
            made(
                reader,
                rows,
                media,
                tmp_path / "rows.jsonl",
                kind,
                vocabulary=vocabulary,
                **more,
            )
        )

    pairs = through(
        TextLabelTask,
        nlvr2(images / "nlvr2/nlvr2.jsonl"),
        images / "nlvr2",
        "pair",
        labels=["True", "False"],
        sentences_per_clip=2,
    )
    assert len(pairs.records) == 16
    assert pairs.inputs["left"].shape == pairs.inputs["right"].shape
    entailed = through(
        TextLabelTask,
        snli_ve(images / "snli_ve/snli_ve.jsonl"),
        images / "snli_ve",
        "image",
        labels=LABELS,
        sentences_per_clip=100,
    )
    assert (len(entailed.records), entailed.inputs["image"].shape[0]) == (69, 4)
    for name, count in (("coco", 7), ("flickr30k", 2), ("flickr8k", 32)):
        written = through(
            CaptionTask,
            captions(images / name / "captions.json"),
            images / name,
            "image",
        )
        assert written.inputs["image"].shape[0] == count
        assert all(len(record["references"]) == 5 for record in written.records)
    clips = through(
        RetrievalTask,
        _videos(shared / "data/videos/msrvtt/captions.json"),
        shared / "data/videos/msrvtt",
        "video",
    )
    assert clips.inputs["video"].shape[0] == 10
    assert np.bincount(clips.inputs["media_id"]).tolist() == [20] * 10


def test_vqa_is_prepared_with_its_images_found(shared: Path, tmp_path: Path) -> None:
    images = shared / "data/images/vqav2"
    for public, kept in (
        ("questions", "v2_OpenEnded_mscoco_train2014_questions.json"),
        ("annotations", "v2_mscoco_train2014_annotations.json"),
    ):
        (tmp_path / kept).write_bytes((images / f"{public}.json").read_bytes())
    done = prepare("vqa", tmp_path, tmp_path / "out", images)
    assert [(one.split, one.entries, one.media) for one in done.written] == [
        ("train", 3, 1)
    ]
    assert done.missing == []
    rows = [
        json.loads(line)
        for line in (tmp_path / "out/train.jsonl").read_text().splitlines()
    ]
    assert rows[0] == {
        "image": "COCO_train2014_000000458752.jpg",
        "question": "What is this photo taken looking through?",
        "question_id": 458752000,
        "answer": {"net": 6, "netting": 1, "mesh": 1, "pitcher": 1, "orange": 1},
    } | ({"type": rows[0]["type"]} if "type" in rows[0] else {})
    vocabulary = shared / "data/text/bert-base-uncased-vocab.txt"
    asked = batch(
        made(
            QuestionAnswerTask,
            rows,
            images,
            tmp_path / "rows.jsonl",
            "image",
            vocabulary=vocabulary,
            questions_per_clip=3,
        )
    )
    assert asked.inputs["image"].shape == (1, 3, 24, 24)
    assert asked.records[0]["counts"] == [6, 1, 1, 1, 1]
    alone = next(iter(vqa(tmp_path / "v2_OpenEnded_mscoco_train2014_questions.json")))
    assert alone.keys() == {"image", "question", "question_id"}, (
        "test splits have no answers"
    )


def test_boxes_of_refcoco_are_read(shared: Path, tmp_path: Path) -> None:
    from PIL import Image

    rows = list(
        detections(
            shared / "data/annotations/refcoco/testA_refcoco_unc_dets_sample.json"
        )
    )
    assert rows[0]["image"] == "train2014/COCO_train2014_000000266240.jpg"
    assert rows[0]["box"] == [0.0, 95.32, 113.34, 419.59]
    (tmp_path / "train2014").mkdir()
    for name in {row["image"] for row in rows}:
        Image.new("RGB", (640, 640)).save(tmp_path / name)
    vocabulary = shared / "data/text/bert-base-uncased-vocab.txt"
    told = batch(
        made(
            GroundingTask,
            rows,
            tmp_path,
            tmp_path / "rows.jsonl",
            "image",
            vocabulary=vocabulary,
            phrases_per_image=9,
        )
    )
    assert told.inputs["box"].shape == (50, 4)
    assert (told.inputs["box"][:, 2:] > told.inputs["box"][:, :2]).all()
