"""What `mplug2 data prepare` knows of data sets with questions, captions and retrieval of videos."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mplug2.data.formats.captions import captions, keep_listed, names
from mplug2.data.formats.entry import Row
from mplug2.data.formats.recipe import Output, Recipe, parts
from mplug2.data.formats.video_qa import tgif_frame_qa, video_qa
from mplug2.data.formats.video_text import didemo, jsfusion, lsmdc, msrvtt

_MSRVTT = ("train_val_videodatainfo.json", "test_videodatainfo.json")


def _listed_videos(listed: Path, *paths: Path) -> Iterator[Row]:
    return keep_listed(captions(*paths, key="video_id"), names(listed), key="video_id")


def _mapped_msvd(path: Path, mapping: Path) -> Iterator[Row]:
    return video_qa(path, prefix="vid", mapping=mapping)


def _msrvtt_retrieval(csv: str) -> tuple[Output, ...]:
    return (
        Output("train", (csv, "MSRVTT_data.json"), _listed_videos),
        Output("train", (csv, *_MSRVTT), _listed_videos),
        Output("test", ("MSRVTT_JSFUSION_test.csv",), jsfusion),
    )


VIDEO_RECIPES: dict[str, Recipe] = {
    "msrvtt_qa": Recipe(
        "MSRVTT-QA",
        "configs_video/VideoQA_msrvtt_large.yaml",
        parts(
            partial(video_qa, prefix="video"),
            train="train_qa.json|qa_train.json",
            val="val_qa.json|qa_val.json",
            test="test_qa.json|qa_test.json",
        ),
        "msrvtt",
        media="video",
    ),
    "msrvtt_caption": Recipe(
        "MSR-VTT captions, official split",
        "configs_video/VideoCaption_msrvtt_large.yaml",
        (
            Output("train", _MSRVTT[:1], partial(msrvtt, split="train")),
            Output("val", _MSRVTT[:1], partial(msrvtt, split="validate")),
            Output("test", _MSRVTT[1:], partial(msrvtt, split="test")),
            *parts(
                partial(captions, key="video_id"),
                train="train_captions.json|cap_train.json",
                val="val_captions.json|cap_val.json",
                test="test_captions.json|cap_test.json",
            ),
        ),
        "msrvtt",
        "captions_",
        "video",
    ),
    "msrvtt_9k": Recipe(
        "MSR-VTT retrieval: 9000 videos to train on, 1k-A test",
        "configs_video/VideoRetrieval_msrvtt_large.yaml",
        _msrvtt_retrieval("MSRVTT_train.9k.csv"),
        "msrvtt",
        "retrieval_",
        "video",
    ),
    "msrvtt_7k": Recipe(
        "MSR-VTT retrieval: 7010 videos to train on, 1k-A test",
        "configs_video/VideoRetrieval_msrvtt_large.yaml",
        _msrvtt_retrieval("MSRVTT_train.7k.csv"),
        "msrvtt",
        "retrieval_",
        "video",
    ),
    "msvd_qa": Recipe(
        "MSVD-QA; youtube_mapping.txt maps vidN to its file",
        "configs_video/VideoQA_msvd_large.yaml",
        tuple(
            Output(split, (f"{split}_qa.json", *mapping), reader)
            for mapping, reader in (
                (("youtube_mapping.txt",), _mapped_msvd),
                ((), partial(video_qa, prefix="vid")),
            )
            for split in ("train", "val", "test")
        ),
        "msvd",
        media="video",
    ),
    "msvd_caption": Recipe(
        "MSVD captions",
        "configs_video/VideoCaption_msvd_large.yaml",
        tuple(
            Output(split, (f"{split}_list.txt", "captions_msvd.json"), _listed_videos)
            for split in ("train", "val", "test")
        ),
        "msvd",
        "captions_",
        "video",
    ),
    "tgif_qa": Recipe(
        "TGIF-QA's frame questions",
        "configs_video/VideoQA_tgif_large.yaml",
        parts(
            tgif_frame_qa,
            train="Train_frameqa_question.csv",
            test="Test_frameqa_question.csv",
        ),
        "tgif",
        media="video",
    ),
    "didemo": Recipe(
        "DiDeMo, all descriptions of a video as one paragraph",
        "configs_video/VideoRetrieval_didemo_large.yaml",
        parts(
            didemo, train="train_data.json", val="val_data.json", test="test_data.json"
        ),
        "didemo",
        media="video",
    ),
    "lsmdc": Recipe(
        "LSMDC 2016 retrieval",
        "configs_video/VideoRetrieval_lsmdc_large.yaml",
        parts(
            lsmdc,
            train="LSMDC16_annos_training.csv",
            val="LSMDC16_annos_val.csv",
            test="LSMDC16_challenge_1000_publictect.csv",
        ),
        "lsmdc",
        media="video",
    ),
}
