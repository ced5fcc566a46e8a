"""What `mplug2 data prepare` knows: the public files of each data set, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from mplug2.data.formats.captions import captions, drop_listed, keep_listed, names
from mplug2.data.formats.class_recipes import CLASS_RECIPES
from mplug2.data.formats.entry import Row
from mplug2.data.formats.flickr import flickr
from mplug2.data.formats.karpathy import karpathy
from mplug2.data.formats.pairs import nlvr2, snli_ve
from mplug2.data.formats.recipe import Output, Recipe, parts
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


def _token_list(path: Path, listed: Path) -> Iterator[Row]:
    return keep_listed(flickr(path), names(listed))


def _karpathy_train(train: Path, val: Path, *lists: Path) -> Iterator[Row]:
    return drop_listed(captions(train, val), *map(names, lists))


def _karpathy_part(val: Path, listed: Path) -> Iterator[Row]:
    return keep_listed(captions(val), names(listed))


def _listed_videos(listed: Path, *paths: Path) -> Iterator[Row]:
    return keep_listed(captions(*paths, key="video_id"), names(listed), key="video_id")


def _mapped_msvd(path: Path, mapping: Path) -> Iterator[Row]:
    return video_qa(path, prefix="vid", mapping=mapping)


_MSRVTT = ("train_val_videodatainfo.json", "test_videodatainfo.json")
_COCO = ("captions_train2014.json", "captions_val2014.json")
_LISTS = ("karpathy_val_images.txt", "karpathy_test_images.txt")
_VQA_QUESTIONS = "v2_OpenEnded_mscoco_{}_questions.json"
_VQA_ANNOTATIONS = "v2_mscoco_{}_annotations.json"
_VQA_ANNOTATED = tuple(_VQA_ANNOTATIONS.format(part) for part in ("train2014", "val2014"))


def _splits(
    file: str, rows: Callable[..., Iterable[Row]], **splits: tuple[str, ...]
) -> tuple[Output, ...]:
    """Outputs of one file that contains the split of each entry."""
    return tuple(
        Output(name, (file,), partial(rows, splits=parts))
        for name, parts in splits.items()
    )


def _flickr(
    dataset: str, tables: str, train: str, val: str, test: str
) -> tuple[Output, ...]:
    lists = {"train": train, "val": val, "test": test}
    return (
        *_splits(
            f"dataset_{dataset}.json",
            karpathy,
            train=("train",),
            val=("val",),
            test=("test",),
        ),
        *(
            Output(split, (tables, listed), _token_list)
            for split, listed in lists.items()
        ),
    )


def _refer(folder: str, by: str, *splits: str) -> tuple[Output, ...]:
    files = (
        f"{folder}/refs({by}).p|{folder}/refs({by}).json",
        f"{folder}/instances.json",
    )
    return tuple(Output(split, files, partial(refer, split=split)) for split in splits)


def _msrvtt_retrieval(csv: str) -> tuple[Output, ...]:
    return (
        Output("train", (csv, "MSRVTT_data.json"), _listed_videos),
        Output("train", (csv, *_MSRVTT), _listed_videos),
        Output("test", ("MSRVTT_JSFUSION_test.csv",), jsfusion),
    )


RECIPES: dict[str, Recipe] = {
    "coco": Recipe(
        "COCO captions in Karpathy's split",
        "configs_image/caption_mplug_base.yaml",
        (
            *_splits(
                "dataset_coco.json",
                karpathy,
                train=("train", "restval"),
                val=("val",),
                test=("test",),
            ),
            Output("train", (*_COCO, *_LISTS), _karpathy_train),
            Output("val", (_COCO[1], _LISTS[0]), _karpathy_part),
            Output("test", (_COCO[1], _LISTS[1]), _karpathy_part),
        ),
        "coco",
    ),
    "coco2017": Recipe(
        "COCO captions in the split of 2017",
        "configs_image/caption_mplug_base.yaml",
        (
            Output(
                "train",
                ("captions_train2017.json",),
                partial(captions, folder="train2017"),
            ),
            Output(
                "val", ("captions_val2017.json",), partial(captions, folder="val2017")
            ),
        ),
        "coco2017",
    ),
    "flickr30k": Recipe(
        "Flickr30k captions",
        "configs_image/retrieval_flickr30k_mplug_base.yaml",
        _flickr(
            "flickr30k", "results_20130124.token", "train.txt", "val.txt", "test.txt"
        ),
        "flickr30k",
    ),
    "flickr8k": Recipe(
        "Flickr8k captions",
        "configs_image/retrieval_flickr30k_mplug_base.yaml",
        _flickr(
            "flickr8k",
            "captions.txt|Flickr8k.token.txt",
            "Flickr_8k.trainImages.txt",
            "Flickr_8k.devImages.txt",
            "Flickr_8k.testImages.txt",
        ),
        "flickr8k",
    ),
    "nocaps": Recipe(
        "NoCaps validation captions (its test captions are not published)",
        "configs_image/caption_nocaps_mplug_large.yaml",
        parts(captions, val="nocaps_val_4500_captions.json"),
        "nocaps",
    ),
    "vqa": Recipe(
        "VQA v2; test has no answers",
        "configs_image/vqa_mplug_base.yaml",
        (
            *(
                Output(
                    split,
                    (_VQA_QUESTIONS.format(part), _VQA_ANNOTATIONS.format(part)),
                    vqa,
                )
                for split, part in (("train", "train2014"), ("val", "val2014"))
            ),
            *parts(vqa, test=_VQA_QUESTIONS.format("test2015")),
            *parts(vqa, **{"test-dev": _VQA_QUESTIONS.format("test-dev2015")}),
            Output(
                "answers",
                ("trainval_label2ans.json|trainval_ans2label.json",),
                answer_list,
            ),
            Output("answers", _VQA_ANNOTATED, frequent_answers),
        ),
        "vqa",
    ),
    "vqa_mplug": Recipe(
        "VQA v2 with Visual Genome as mPLUG's lists split them, without their ocr and object_label",
        "configs_image/vqa_mplug_base.yaml",
        (
            *parts(
                mplug_list,
                train="vqa_train.json",
                val="vqa_val.json",
                minival="vqa_minval.json",
            ),
            *parts(mplug_list, test="vqa_test.json", genome="vg_qa.json"),
            Output("answers", ("answer_list.json",), answer_list),
        ),
        "vqa_mplug",
    ),
    "visual_genome": Recipe(
        "Visual Genome's questions",
        "configs_image/vqa_mplug_base.yaml",
        parts(visual_genome, train="question_answers.json"),
        "visual_genome",
    ),
    "gqa": Recipe(
        "GQA, balanced",
        "configs_image/vqa_mplug_base.yaml",
        (
            *parts(
                gqa,
                train="train_balanced_questions.json",
                val="val_balanced_questions.json",
            ),
            *parts(gqa, test="testdev_balanced_questions.json"),
        ),
        "gqa",
    ),
    "refcoco": Recipe(
        "RefCOCO",
        "configs_image/grounding_mplug_base.yaml",
        (
            *_refer("refcoco", "unc", "train", "val", "testA", "testB"),
            *parts(detections, testA="testA_refcoco_unc_dets.json"),
        ),
        "refcoco",
    ),
    "refcoco+": Recipe(
        "RefCOCO+",
        "configs_image/grounding_mplug_base.yaml",
        _refer("refcoco+", "unc", "train", "val", "testA", "testB"),
        "refcoco+",
    ),
    "refcocog": Recipe(
        "RefCOCOg in UMD's split",
        "configs_image/grounding_mplug_base.yaml",
        _refer("refcocog", "umd", "train", "val", "test"),
        "refcocog",
    ),
    "nlvr2": Recipe(
        "NLVR2: sentences about pairs of images; test is test-P (test1)",
        "configs_image/nlvr2_mplug_base.yaml",
        (
            Output("train", ("train.json",), partial(nlvr2, folder="images/train")),
            Output("val", ("dev.json",), partial(nlvr2, folder="dev")),
            Output("test", ("test1.json",), partial(nlvr2, folder="test1")),
        ),
        "nlvr2",
    ),
    "snli_ve": Recipe(
        "SNLI-VE, or e-SNLI-VE's tables",
        "configs_image/snli_ve_mplug_base.yaml",
        (
            *parts(
                snli_ve,
                train="snli_ve_train.jsonl",
                val="snli_ve_dev.jsonl",
                test="snli_ve_test.jsonl",
            ),
            *parts(
                snli_ve,
                train="esnlive_train.csv",
                val="esnlive_dev.csv",
                test="esnlive_test.csv",
            ),
        ),
        "snli_ve",
    ),
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
    **CLASS_RECIPES,
}
