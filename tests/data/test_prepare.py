"""Public downloads become our files: found by name, written whole, inside one folder, and told."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mplug2.cli.app import app
from mplug2.data.formats.recipes import RECIPES
from mplug2.data.media.folder import MediaFolder
from mplug2.data.prepare import prepare
from registry import read_spec
from registry.errors import UserError
from registry.language.ports import StreamType

ROOT = Path(__file__).resolve().parents[2]


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def photos(*splits: str) -> str:
    """Karpathy's file with an image for each split."""
    images = [
        {
            "filename": f"{number}.jpg",
            "split": split,
            "sentences": [{"raw": f"photo {number}"}],
        }
        for number, split in enumerate(splits)
    ]
    return json.dumps({"images": images})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "download"
    (folder / "deep" / "down").mkdir(parents=True)
    return folder


def test_splits_are_written_whole_and_told(source: Path, tmp_path: Path) -> None:
    (source / "deep/down/dataset_flickr30k.json.gz").write_bytes(
        gzip.compress(photos("train", "val", "train", "test").encode())
    )
    out = tmp_path / "out" / "here"
    done = prepare("flickr30k", source, out)
    assert [(one.split, one.path, one.entries, one.media) for one in done.written] == [
        ("train", out / "train.jsonl", 2, 2),
        ("val", out / "val.jsonl", 1, 1),
        ("test", out / "test.jsonl", 1, 1),
    ]
    assert sorted(path.name for path in out.iterdir()) == [
        "test.jsonl",
        "train.jsonl",
        "val.jsonl",
    ]
    assert lines(out / "train.jsonl") == [
        {"image": "0.jpg", "caption": ["photo 0"]},
        {"image": "2.jpg", "caption": ["photo 2"]},
    ]
    assert (done.missing_sources, done.missing) == ({}, [])


def test_what_lacks_is_named_and_the_rest_is_made(source: Path, tmp_path: Path) -> None:
    (source / "val_data.json").write_text('[{"video": "a.mov", "description": "d"}]')
    done = prepare("didemo", source, tmp_path / "out")
    assert [one.split for one in done.written] == ["val"]
    assert done.missing_sources == {
        "train": ["train_data.json"],
        "test": ["test_data.json"],
    }
    with pytest.raises(
        UserError,
        match=r"nothing of lsmdc can be made: .* no LSMDC16_annos_training\.csv; no ",
    ):
        prepare("lsmdc", source, tmp_path / "out")


def test_the_first_way_whose_files_are_there_is_taken(
    source: Path, tmp_path: Path
) -> None:
    (source / "captions.txt").write_text("image,caption\na.jpg,one\nb.jpg,two\n")
    (source / "Flickr_8k.trainImages.txt").write_text("b.jpg\n")
    assert [
        one.split for one in prepare("flickr8k", source, tmp_path / "a").written
    ] == ["train"]
    assert lines(tmp_path / "a/train.jsonl") == [{"image": "b.jpg", "caption": ["two"]}]
    (source / "dataset_flickr8k.json").write_text(photos("train", "val", "test"))
    prepare("flickr8k", source, tmp_path / "b")
    assert lines(tmp_path / "b/train.jsonl") == [
        {"image": "0.jpg", "caption": ["photo 0"]}
    ]


def test_folders_tell_files_of_one_name_apart(source: Path, tmp_path: Path) -> None:
    for name, phrase in (("refcoco", "one"), ("refcoco+", "two")):
        (source / name).mkdir()
        sentence = {"sent": phrase, "sent_id": 1}
        ref = {"split": "val", "image_id": 1, "ann_id": 2, "sentences": [sentence]}
        (source / name / "refs(unc).json").write_text(json.dumps([ref]))
        known = {
            "images": [{"id": 1, "file_name": "a.jpg"}],
            "annotations": [{"id": 2, "bbox": [0, 0, 4, 4]}],
        }
        (source / name / "instances.json").write_text(json.dumps(known))
    with pytest.raises(UserError, match="train must have at least one entry"):
        prepare("refcoco+", source, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir()), "nothing is left half written"
    refs = source / "refcoco+" / "refs(unc).json"
    every = json.loads(refs.read_text())[0]
    refs.write_text(
        json.dumps(
            [{**every, "split": split} for split in ("train", "val", "testA", "testB")]
        )
    )
    for folder in (source, source / "refcoco+"):  # the folder itself may be named, too
        prepare("refcoco+", folder, tmp_path / "out", replace=True)
        assert [row["phrase"] for row in lines(tmp_path / "out/testA.jsonl")] == ["two"]


def test_two_files_of_one_name_are_not_guessed_between(
    source: Path, tmp_path: Path
) -> None:
    for folder in ("one", "two"):
        (source / folder).mkdir()
        (source / folder / "dev.json").write_text("{}")
    with pytest.raises(
        UserError,
        match=r"dev\.json must be one file, but there are .*one/dev.json and .*two/dev",
    ):
        prepare("nlvr2", source, tmp_path / "out")


def test_of_a_plain_and_a_packed_file_the_plain_one_is_read(
    source: Path, tmp_path: Path
) -> None:
    (source / "dataset_flickr30k.json").write_text(photos("train", "val", "test"))
    (source / "dataset_flickr30k.json.gz").write_bytes(gzip.compress(b"{}"))
    done = prepare("flickr30k", source, tmp_path / "out")
    assert list(done.files.values()) == [source / "dataset_flickr30k.json"]
    assert len(done.written) == 3


def test_every_way_to_a_split_says_what_it_lacks(source: Path, tmp_path: Path) -> None:
    (source / "captions_val2014.json").write_text(
        json.dumps({"images": [], "annotations": []})
    )
    lists = "karpathy_val_images.txt + karpathy_test_images.txt"
    with pytest.raises(UserError) as caught:
        prepare("coco", source, tmp_path / "out")
    assert str(caught.value).splitlines()[0] == (
        f"nothing of coco can be made: below {source} there is no dataset_coco.json, nor "
        f"captions_train2014.json + {lists}; no dataset_coco.json, nor karpathy_val_images.txt; no "
        "dataset_coco.json, nor karpathy_test_images.txt"
    )
    (source / "karpathy_val_images.txt").write_text("a.jpg")
    (source / "captions_val2014.json").write_text(
        '[{"image": "a.jpg", "caption": "one"}]'
    )
    words = [
        "data",
        "prepare",
        "coco",
        "--source",
        str(source),
        "--out",
        str(tmp_path / "out"),
    ]
    said = CliRunner().invoke(app, words).output.splitlines()
    ways = "dataset_coco.json, nor karpathy_test_images.txt"
    assert f"  no test: there is no {ways} below {source}" in said


def test_what_is_there_is_not_replaced_unasked(source: Path, tmp_path: Path) -> None:
    (source / "dataset_coco.json").write_text(photos("train", "val", "test", "restval"))
    prepare("coco", source, tmp_path / "out")
    before = (tmp_path / "out/train.jsonl").read_text()
    (tmp_path / "out/train.jsonl").write_text("mine")
    with pytest.raises(
        UserError, match=r"train\.jsonl, .* already exists\. Use --overwrite"
    ):
        prepare("coco", source, tmp_path / "out")
    assert (tmp_path / "out/train.jsonl").read_text() == "mine"
    prepare("coco", source, tmp_path / "out", replace=True)
    assert (tmp_path / "out/train.jsonl").read_text() == before


def test_a_source_is_never_written_over(source: Path) -> None:
    question = {"image": "a.jpg", "question": "q", "answer": "a"}
    (source / "vqa_train.json").write_text(json.dumps([question]))
    (source / "train.jsonl").symlink_to(source / "vqa_train.json")
    with pytest.raises(UserError, match="is read from, and must not be written to"):
        prepare("vqa_mplug", source, source, replace=True)


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "/etc/passwd", "a/../../b.jpg", "..\\b.jpg", ""]
)
def test_names_that_lead_out_are_refused_and_nothing_is_written(
    source: Path, tmp_path: Path, name: str
) -> None:
    rows = json.loads(photos("train", "val", "test"))
    rows["images"][0]["filename"] = name
    (source / "dataset_flickr30k.json").write_text(json.dumps(rows))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(
        UserError,
        match=r"images: entry 1: a file name must (stay inside|be written with /)",
    ):
        prepare("flickr30k", source, tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == [
        *before[:0],
        *sorted([*before, tmp_path / "out"]),
    ]


def test_media_are_found_in_folders_and_under_other_suffixes(
    source: Path, tmp_path: Path
) -> None:
    videos = ["first.mov", "second.avi", "third.mp4", "gone.mov", "twice.mov"]
    told = [{"video": video, "description": "d"} for video in videos]
    (source / "val_data.json").write_text(json.dumps(told))
    media = tmp_path / "media"
    for name in (
        "a/first.mov",
        "second.avi",
        "b/third.mov.mp4",
        "a/twice.mp4",
        "b/twice.mp4",
    ):
        (media / name).parent.mkdir(parents=True, exist_ok=True)
        (media / name).write_bytes(b"")
    done = prepare("didemo", source, tmp_path / "out", media)
    found = [row["video_id"] for row in lines(tmp_path / "out/val.jsonl")]
    assert found == ["a/first.mov", "second", "b/third.mov", "gone", "twice"]
    assert done.missing == ["gone"]
    assert done.unclear == {"twice": ("a/twice.mp4", "b/twice.mp4")}
    words = [
        "data",
        "prepare",
        "didemo",
        "--source",
        str(source),
        "--out",
        str(tmp_path / "o"),
    ]
    said = CliRunner().invoke(app, [*words, "--media", str(media)]).output.splitlines()
    assert said[-3:-1] == [
        f"  1 videos are not below {media}, such as gone",
        f"  1 videos are in several places below {media}, such as twice (a/twice.mp4, b/twice.mp4): "
        "their names are unchanged",
    ]
    files = MediaFolder(media, "video", StreamType("frames", ("V", 3, 2, 8, 8)))
    assert [files.file(name).is_file() for name in found] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_a_held_out_part_is_always_the_same_and_shares_no_video(
    source: Path, tmp_path: Path
) -> None:
    head = "gif_name\tquestion\tanswer\ttype\tvid_id\tkey\tdescription\n"
    rows = "".join(
        f"tumblr_{number % 100}\tq{number}\ta\t0\tv\t1\td\n" for number in range(300)
    )
    (source / "Train_frameqa_question.csv").write_text(head + rows)
    done = prepare("tgif_qa", source, tmp_path / "a", val_fraction=0.2)
    train, val = (lines(tmp_path / f"a/{split}.jsonl") for split in ("train", "val"))
    assert len(train) + len(val) == 300
    assert 30 < len(val) < 90
    assert not {row["video_id"] for row in train} & {row["video_id"] for row in val}
    assert {one.split: one.entries for one in done.written} == {
        "train": len(train),
        "val": len(val),
    }
    prepare("tgif_qa", source, tmp_path / "b", val_fraction=0.2)
    assert (tmp_path / "b/val.jsonl").read_bytes() == (
        tmp_path / "a/val.jsonl"
    ).read_bytes()
    (source / "dataset_coco.json").write_text(photos("train", "val", "test"))
    for name, share in (("coco", 0.1), ("tgif_qa", 1.5), ("tgif_qa", -0.1)):
        with pytest.raises(
            UserError, match="--val-fraction must be a fraction of a training split"
        ):
            prepare(name, source, tmp_path / "c", val_fraction=share)


def test_answers_are_a_list(source: Path, tmp_path: Path) -> None:
    (source / "trainval_label2ans.json").write_text('["", "yes", "no"]')
    done = prepare("vqa", source, tmp_path / "out")
    assert json.loads((tmp_path / "out/answers.json").read_text()) == ["yes", "no"]
    assert set(done.missing_sources) == {"train", "val", "test", "test-dev"}


def test_the_command_says_what_was_found_and_how_to_go_on(
    source: Path, tmp_path: Path
) -> None:
    (source / "dataset_flickr30k.json").write_text(photos("train", "val"))
    (source / "media").mkdir()
    words = [
        "data",
        "prepare",
        "flickr30k",
        "--source",
        str(source),
        "--out",
        str(tmp_path / "o"),
    ]
    done = CliRunner().invoke(app, [*words, "--media", str(source / "media")])
    assert done.exit_code == 2
    assert (
        done.output.splitlines()[-1]
        == "test must have at least one entry, but its files are empty"
    )
    (source / "dataset_flickr30k.json").write_text(photos("train", "val", "test"))
    done = CliRunner().invoke(app, [*words, "--media", str(source / "media")])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [
        "flickr30k: Flickr30k captions",
        f"  read {source}/dataset_flickr30k.json",
        *(
            f"  wrote {tmp_path}/o/{split}.jsonl: 1 entries about 1 images"
            for split in ("train", "val", "test")
        ),
        f"  3 images are not below {source}/media, such as 0.jpg",
        "next: mplug2 data check configs_image/retrieval_flickr30k_mplug_base.yaml "
        + " ".join(
            f"data.{split}.path={tmp_path}/o/{split}.jsonl"
            for split in ("train", "val", "test")
        )
        + f" data.media={source}/media",
    ]


def test_without_a_name_all_sets_are_listed_with_their_files() -> None:
    listed = CliRunner().invoke(app, ["data", "prepare"]).output
    for name, recipe in RECIPES.items():
        assert f"{name}: {recipe.about}\n" in listed
        for output in recipe.outputs:
            for file in output.files:
                assert file.replace("|", " or ") in listed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["coc", "--source", "."], "'coc'; did you mean coco?"),
        (["coco"], "--source must name the folder with the downloaded files of coco"),
        (["coco", "--source", "no/such"], "--source no/such must be a folder"),
    ],
)
def test_mistakes_of_the_command_line(words: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["data", "prepare", *words])
    assert done.exit_code == 2
    assert said in done.output


@pytest.mark.parametrize("name", RECIPES)
def test_the_guide_names_every_set(name: str) -> None:
    recipe = RECIPES[name]
    assert f"`{name}`" in (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    assert len({(output.split, output.files) for output in recipe.outputs}) == len(
        recipe.outputs
    )


OTHER_PATHS = {
    "coco2017",
    "flickr8k",
    "vqa_mplug",
    "visual_genome",
    "gqa",
    "refcoco+",
    "refcocog",
}
OTHER_PATHS |= {"kinetics600", "kinetics700", "ucf101", "hmdb51"}


@pytest.mark.parametrize("name", RECIPES)
def test_specs_read_what_is_written(name: str) -> None:
    recipe = RECIPES[name]
    spec = read_spec(str(ROOT / recipe.spec))
    written = {
        f"data/{recipe.folder}/{recipe.prefix}{output.split}.jsonl"
        for output in recipe.outputs
        if output.split != "answers"
    } | {f"data/{recipe.folder}/{recipe.prefix}val.jsonl"}  # or held out
    read = {
        part["path"]
        for split in ("train", "val", "test")
        if (part := spec.data.get(split))
    }
    assert bool(read & written) == (name not in OTHER_PATHS)
    if name not in {*OTHER_PATHS, "nocaps", "imagenet"}:
        assert read <= written, "nothing that the spec reads is missing"
