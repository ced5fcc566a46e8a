"""What `mplug2 data prepare` knows of data sets with classes of images and videos."""

from __future__ import annotations

from functools import partial

from mplug2.data.formats.classes import (
    HMDB51,
    hmdb51,
    imagenet_numbers,
    imagenet_solution,
    kinetics,
    something,
    ucf101,
)
from mplug2.data.formats.recipe import Output, Recipe, parts


def _kinetics(number: int) -> Recipe:
    return Recipe(
        f"Kinetics-{number}",
        "configs_video/VideoClasses_kinetics400_base.yaml",
        parts(kinetics, train="train.csv", val="validate.csv|val.csv", test="test.csv"),
        f"kinetics{number}",
        media="video",
    )


def _hmdb51(split: int, name: str, mark: str) -> Output:
    ending = f"_test_split{split}.txt"
    files = tuple(f"{label}{ending}" for label in HMDB51)
    return Output(name, files, partial(hmdb51, mark=mark, ending=ending))


_SOMETHING = "something-something-v2-{0}.json|{0}.json"

CLASS_RECIPES: dict[str, Recipe] = {
    "imagenet": Recipe(
        "ImageNet-1K's validation images; the training images are read from their folders",
        "configs_image/classes_imagenet_base.yaml",
        (
            Output("val", ("LOC_val_solution.csv",), imagenet_solution),
            Output(
                "val", ("val.txt", "synsets.txt|synset_words.txt"), imagenet_numbers
            ),
        ),
        "imagenet",
    ),
    **{f"kinetics{number}": _kinetics(number) for number in (400, 600, 700)},
    "ssv2": Recipe(
        "Something-Something v2; test has no labels",
        "configs_video/VideoClasses_ssv2_base.yaml",
        tuple(
            Output(split, (_SOMETHING.format(part),), something)
            for split, part in (
                ("train", "train"),
                ("val", "validation"),
                ("test", "test"),
            )
        ),
        "ssv2",
        media="video",
    ),
    "ucf101": Recipe(
        "UCF101 in its three splits: train, test; train2, test2; train3, test3",
        "configs_video/VideoClasses_kinetics400_base.yaml",
        parts(
            ucf101,
            train="trainlist01.txt",
            test="testlist01.txt",
            train2="trainlist02.txt",
            test2="testlist02.txt",
            train3="trainlist03.txt",
            test3="testlist03.txt",
        ),
        "ucf101",
        media="video",
    ),
    "hmdb51": Recipe(
        "HMDB51 in its three splits: train, test; train2, test2; train3, test3",
        "configs_video/VideoClasses_kinetics400_base.yaml",
        tuple(
            _hmdb51(number, f"{part}{'' if number == 1 else number}", mark)
            for number in (1, 2, 3)
            for part, mark in (("train", "1"), ("test", "2"))
        ),
        "hmdb51",
        media="video",
    ),
}
