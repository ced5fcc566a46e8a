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
from mplug2.data.formats.video_recipes import VIDEO_RECIPES
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


_COCO = ("captions_train2014.json", "captions_val2014.json")
_LISTS = ("karpathy_val_images.txt", "karpathy_test_images.txt")
_VQA_QUESTIONS = "v2_OpenEnded_mscoco_{}_questions.json"
_VQA_ANNOTATIONS = "v2_mscoco_{}_annotations.json"
_VQA_ANNOTATED = tuple(
    _VQA_ANNOTATIONS.format(part) for part in ("train2014", "val2014")
)


def _splits(
    file: str, rows: Callable[..., Iterable[Row]], **splits: tuple[str, ...]
) -> tuple[Output, ...]:
    """Outputs of one file that contains the split of each entry."""
    outputs = []
    for name, entry_splits in splits.items():
        outputs.append(Output(name, (file,), partial(rows, splits=entry_splits)))
    return tuple(outputs)


def _flickr(
    dataset: str, tables: str, train: str, val: str, test: str
) -> tuple[Output, ...]:
    # Karpathy's file first: it has captions and splits in one.
    file = f"dataset_{dataset}.json"
    every_split = {"train": ("train",), "val": ("val",), "test": ("test",)}
    return (
        *_splits(file, karpathy, **every_split),
        Output("train", (tables, train), _token_list),
        Output("val", (tables, val), _token_list),
        Output("test", (tables, test), _token_list),
    )


def _vqa(split: str, part: str) -> Output:
    """Output of the questions of a part of COCO with the answers to them."""
    files = (_VQA_QUESTIONS.format(part), _VQA_ANNOTATIONS.format(part))
    return Output(split, files, vqa)


def _refer(folder: str, by: str, *splits: str) -> tuple[Output, ...]:
    files = (
        f"{folder}/refs({by}).p|{folder}/refs({by}).json",
        f"{folder}/instances.json",
    )
    return tuple(Output(split, files, partial(refer, split=split)) for split in splits)


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
            _vqa("train", "train2014"),
            _vqa("val", "val2014"),
            # Questions alone: only the server knows the answers.
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
    **VIDEO_RECIPES,
    **CLASS_RECIPES,
}
