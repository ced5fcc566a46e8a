"""Questions about images and videos, sentences about pairs of images, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mplug2.data.formats.pairs import nlvr2, snli_ve
from mplug2.data.formats.video_qa import tgif_frame_qa, video_qa
from mplug2.data.formats.vqa import (
    answer_list,
    frequent_answers,
    gqa,
    mplug_list,
    visual_genome,
    vqa,
)
from mplug2.data.rows import read_questions
from registry.errors import UserError


def saved(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def vqa_files(folder: Path, subtype: str = "val2014") -> tuple[Path, Path]:
    """One question with ten answers, as two files."""
    question = {"image_id": 42, "question": "How many?", "question_id": 42000}
    said = [{"answer": "2", "answer_id": one} for one in range(8)] + [
        {"answer": "two"},
        {"answer": "3"},
    ]
    answers = {
        "question_id": 42000,
        "answers": said,
        "answer_type": "number",
        "multiple_choice_answer": "Two",
    }
    return (
        saved(
            folder / "questions.json",
            {"data_subtype": subtype, "questions": [question]},
        ),
        saved(folder / "annotations.json", {"annotations": [answers]}),
    )


def test_vqa_counts_its_ten_answers(tmp_path: Path) -> None:
    row = {
        "image": "val2014/COCO_val2014_000000000042.jpg",
        "question": "How many?",
        "question_id": 42000,
        "answer": {"2": 8, "two": 1, "3": 1},
        "type": "number",
    }
    questions, annotations = vqa_files(tmp_path)
    assert list(vqa(questions, annotations)) == [row]
    (read,) = read_questions(saved(tmp_path / "ours.jsonl", json.dumps(row)))
    assert (read.weights, read.kind, read.key) == ((0.8, 0.1, 0.1), "number", "image")


def test_vqa_test_splits_have_no_answers(tmp_path: Path) -> None:
    questions, _ = vqa_files(tmp_path, "test-dev2015")
    (row,) = vqa(questions)
    assert row["image"] == "test2015/COCO_test2015_000000000042.jpg"
    path = saved(tmp_path / "ours.jsonl", json.dumps(row))
    (read,) = read_questions(path, "absent too")
    assert (read.answers, read.counts, read.weights) == ((), (), ())
    with pytest.raises(UserError, match=r"ours\.jsonl:1.*has no 'answer'"):
        read_questions(path)
    saved(path, json.dumps(row) + "\n" + json.dumps({**row, "answer": "a"}))
    with pytest.raises(UserError, match=r"ours\.jsonl:1.*has no 'answer'"):
        read_questions(path, "absent too")  # some have one: the others lost theirs


def test_an_annotation_that_is_missing_is_named(tmp_path: Path) -> None:
    questions, annotations = vqa_files(tmp_path)
    saved(annotations, {"annotations": []})
    with pytest.raises(
        UserError,
        match="questions: entry 1: question 42000 must be in .*annotations.json",
    ):
        list(vqa(questions, annotations))


def test_answers_that_are_frequent(tmp_path: Path) -> None:
    _, annotations = vqa_files(tmp_path)
    assert frequent_answers(*[annotations] * 9) == ["2"], "normalised"
    assert frequent_answers(*[annotations] * 8) == []
    assert answer_list(saved(tmp_path / "a.json", ["", "b", "a", "b"])) == ["b", "a"]
    assert answer_list(saved(tmp_path / "b.json", {"a": 1, "b": 0, "": 2})) == [
        "b",
        "a",
    ]
    with pytest.raises(UserError, match=r"c\.json: must be a list of answers"):
        answer_list(saved(tmp_path / "c.json", {"a": "b"}))


def test_other_questions_about_images(tmp_path: Path) -> None:
    half = {"weight": 0.5}
    asked = {"image": "train2014/a.jpg", "question": "q?"}
    listed = [
        {**asked, "answer": ["a", "b", "a"], "dataset": "vqa", "ocr": [[[0, 0], "x"]]},
        {**asked, "answer": "a", "dataset": "vg", "object_label": "a&&b"},
        {**asked, "answer": "a", "dataset": "gqa"},
    ]
    rows = list(mplug_list(saved(tmp_path / "m.json", listed)))
    assert rows == [
        {**asked, "answer": {"a": 2, "b": 1}, "question_id": 0},
        {**asked, "answer": {"a": 1}, "question_id": 1, **half},
        {**asked, "answer": {"a": 1}, "question_id": 2, **half},
    ]
    read = read_questions(
        saved(tmp_path / "ours.jsonl", "\n".join(map(json.dumps, rows)))
    )
    assert [one.weights for one in read] == [(2 / 3, 1 / 3), (0.5,), (0.5,)]
    genome = [{"id": 4, "qas": [{"question": "q?", "answer": "A bear.", "qa_id": 9}]}]
    assert list(visual_genome(saved(tmp_path / "v.json", genome))) == [
        {
            "image": "4.jpg",
            "question": "q?",
            "answer": "A bear",
            "question_id": 9,
            **half,
        }
    ]
    scenes = {
        "07": {"imageId": "n1", "question": "q?", "answer": "yes"},
        "08": {"imageId": "2", "question": "r?"},
    }
    assert list(gqa(saved(tmp_path / "g.json", scenes))) == [
        {
            "image": "n1.jpg",
            "question": "q?",
            "answer": "yes",
            "question_id": "07",
            **half,
        },
        {"image": "2.jpg", "question": "r?", "question_id": "08", **half},
    ]


@pytest.mark.parametrize("form", ["list", "lines", "mapping"])
def test_questions_about_videos(tmp_path: Path, form: str) -> None:
    asked = {"answer": "cat", "id": 3, "question": "what runs?", "video_id": 7}
    forms = {
        "list": [asked],
        "lines": json.dumps(asked) + "\n" + json.dumps(asked),
        "mapping": {"3": asked},
    }
    rows = list(video_qa(saved(tmp_path / "qa.json", forms[form]), prefix="video"))
    assert rows[0] == {
        "video_id": "video7",
        "question": "what runs?",
        "answer": "cat",
        "question_id": 3,
    }
    assert len(rows) == (2 if form == "lines" else 1)


def test_videos_by_their_youtube_names(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "qa.json", [{"answer": "a", "id": 0, "question": "q", "video_id": 2}]
    )
    mapping = saved(tmp_path / "m.txt", "abc_1_2 vid1\nxyz_0_9 vid2\n")
    assert next(video_qa(path, prefix="vid", mapping=mapping))["video_id"] == "xyz_0_9"
    with pytest.raises(
        UserError, match="entry 1: the video vid2 must be in .*m.txt, but is not"
    ):
        list(video_qa(path, prefix="vid", mapping=saved(mapping, "abc_1_2 vid1\n")))
    with pytest.raises(UserError, match=r"m\.txt:1: a line must be FILE vidN"):
        list(video_qa(path, prefix="vid", mapping=saved(mapping, "abc\n")))


def test_frame_questions_tell_their_type(tmp_path: Path) -> None:
    head = "gif_name\tquestion\tanswer\ttype\tvid_id\tkey\tdescription\n"
    path = saved(
        tmp_path / "f.csv",
        f"{head}tumblr_a\twhat colour?\tred\t2\tFRAMEQA1\t9\ta red thing\n",
    )
    assert list(tgif_frame_qa(path)) == [
        {
            "video_id": "tumblr_a",
            "question": "what colour?",
            "answer": "red",
            "type": "colour",
            "question_id": 0,
        }
    ]
    with pytest.raises(
        UserError, match=r"f\.csv:2: 'type' must be one of 0, 1, 2, 3, but is \"7\""
    ):
        list(tgif_frame_qa(saved(path, f"{head}tumblr_a\tq\tred\t7\tx\t9\td\n")))


def test_pairs_of_images_by_their_identifier(tmp_path: Path) -> None:
    told = {
        "identifier": "train-5-1-0",
        "directory": 39,
        "sentence": "Two dogs.",
        "label": "True",
    }
    path = saved(tmp_path / "train.json", json.dumps(told) + "\n")
    assert list(nlvr2(path, folder="images/train")) == [
        {
            "images": [f"images/train/39/train-5-1-img{side}.png" for side in (0, 1)],
            "sentence": "Two dogs.",
            "label": "True",
            "question_id": "train-5-1-0",
        }
    ]
    for label, found in ((False, "False"), ("true", "True")):
        saved(path, json.dumps({**told, "label": label}))
        assert next(nlvr2(path))["label"] == found
    with pytest.raises(UserError, match="'label' must be one of true, false, but is"):
        list(nlvr2(saved(path, json.dumps({**told, "label": "yes"}))))
    with pytest.raises(UserError, match="must stay inside the media folder"):
        list(nlvr2(saved(path, json.dumps({**told, "directory": "../.."}))))


def test_entailment_leaves_out_what_nobody_agreed_on(tmp_path: Path) -> None:
    rows = [
        {
            "Flickr30K_ID": "12",
            "sentence1": "p",
            "sentence2": "A man.",
            "gold_label": label,
            "pairID": label,
        }
        for label in ("neutral", "-", "entailment")
    ]
    path = saved(tmp_path / "snli_ve_dev.jsonl", "\n".join(map(json.dumps, rows)))
    assert list(snli_ve(path)) == [
        {"image": "12.jpg", "sentence": "A man.", "label": label, "question_id": label}
        for label in ("neutral", "entailment")
    ]
    table = saved(
        tmp_path / "esnlive.csv",
        ",pairID,Flickr30kID,hypothesis,gold_label,explanation\n"
        '0,x,12.jpg,"A ""big"" man.",neutral,"one\ntwo"\n',
    )
    assert list(snli_ve(table)) == [
        {
            "image": "12.jpg",
            "sentence": 'A "big" man.',
            "label": "neutral",
            "question_id": "x",
        }
    ]
