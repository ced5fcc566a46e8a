"""Images and videos with classes: folders, tables and JSON lines, lists of classes, and the batches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loaders import eval_loader, make_source
from PIL import Image

from mplug2.data.class_list import read_class_list
from mplug2.data.shapes.write import encode
from mplug2.data.sources.files import FileSource
from mplug2.data.tasks.media_class import MediaClassTask
from registry import StreamType
from registry.errors import UserError

IMAGES = {"image": StreamType("image", ("B", 3, 8, 8))}
VIDEOS = {"video": StreamType("frames", ("B", 3, 4, 8, 8))}
LABELS = ["cat", "dog"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder with a folder of photos for each class, and files that are no photos."""
    folder = tmp_path / "photos"
    for number, name in enumerate(["dog/2.png", "cat/1.JPG", "cat/deep/0.png"]):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (100 * number,) * 3).save(file)
    (folder / "cat" / "notes.txt").write_text("no photo")
    (folder / "README.txt").write_text("no class")
    return folder


def source(path: Path, **arguments: Any) -> FileSource:
    settings: dict[str, Any] = {"labels": LABELS, "types": IMAGES, **arguments}
    return make_source(MediaClassTask, path, **settings)


def batch_of(data: FileSource) -> Any:
    (batch,) = eval_loader(data, 8)
    return batch


def test_a_folder_for_each_class(photos: Path) -> None:
    data = source(photos)
    batch = batch_of(data)
    assert [record["image"] for record in batch.records] == [
        "cat/1.JPG",
        "cat/deep/0.png",
        "dog/2.png",
    ]
    assert batch.inputs["label"].tolist() == [0, 0, 1]
    assert batch.inputs["targets"].tolist() == [[1, 0], [1, 0], [0, 1]]
    assert batch.inputs["image"].shape == (3, 3, 8, 8)
    assert data.task.counts(data.items) == {"cat": 2, "dog": 1}
    before = data.fingerprint()
    Image.new("RGB", (8, 8)).save(photos / "dog" / "3.png")
    assert source(photos).fingerprint() != before
    (photos / "bird").mkdir()
    with pytest.raises(
        UserError, match=r'photos/bird: a label must be one of cat, dog \(got "bird"\)'
    ):
        source(photos)


def test_a_table_and_json_lines_give_the_same_items(
    photos: Path, tmp_path: Path
) -> None:
    table = tmp_path / "labels.tsv"
    table.write_text(
        "file\tanimal\tsplit\ncat/1.JPG\tcat\ttrain\ndog/2.png\tdog\ttest\n"
    )
    comma = tmp_path / "labels.csv"
    comma.write_text('animal,file\n"cat",cat/1.JPG\ndog,dog/2.png\n')
    lines = tmp_path / "labels.jsonl"
    rows = [
        {"file": "cat/1.JPG", "animal": "cat"},
        {"file": "dog/2.png", "animal": ["dog"]},
    ]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    fields = {"media_field": "file", "label_field": "animal", "media": str(photos)}
    first, *others = [source(path, **fields).items for path in (table, comma, lines)]
    assert [(item.name, item.labels) for item in first] == [
        ("cat/1.JPG", ("cat",)),
        ("dog/2.png", ("dog",)),
    ]
    assert others == [first, first]


def test_several_labels(photos: Path, tmp_path: Path) -> None:
    lines = tmp_path / "labels.csv"
    lines.write_text("image,label\ncat/1.JPG,dog; cat\ndog/2.png,dog\n")
    data = source(lines, media=str(photos), separator=";", inputs=["image", "targets"])
    batch = batch_of(data)
    assert batch.inputs["targets"].tolist() == [[1, 1], [0, 1]]
    assert batch.records[0]["answers"] == ["dog", "cat"]
    with pytest.raises(
        UserError,
        match=r"'label' needs one class for each file \(got dog, cat for cat/1",
    ):
        batch_of(source(lines, media=str(photos), separator=";"))


def test_labels_in_the_data_may_have_other_names(photos: Path) -> None:
    data = source(photos, labels={"dog": "a dog", "cat": "a cat"})
    assert batch_of(data).inputs["label"].tolist() == [1, 1, 0]
    assert batch_of(data).records[0]["classes"] == ["a dog", "a cat"]


def test_a_test_set_may_have_no_labels(photos: Path, tmp_path: Path) -> None:
    lines = tmp_path / "test.jsonl"
    lines.write_text('{"image": "cat/1.JPG"}\n')
    batch = batch_of(source(lines, media=str(photos)))
    assert set(batch.inputs) == {"image"}
    assert batch.records[0]["answers"] == []
    with pytest.raises(
        UserError, match=r"test.jsonl:1: 'label' must be a label.*\(got null\)"
    ):
        source(lines, media=str(photos), training=True)


def test_videos(tmp_path: Path) -> None:
    for name, grey in (("cat/a", 50), ("dog/b", 200)):
        (tmp_path / "videos" / name).parent.mkdir(parents=True)
        encode(
            tmp_path / "videos" / f"{name}.mp4", np.full((6, 32, 32, 3), grey, np.uint8)
        )
    batch = batch_of(source(tmp_path / "videos", types=VIDEOS))
    assert batch.inputs["video"].shape == (2, 3, 4, 8, 8)
    assert batch.inputs["label"].tolist() == [0, 1]
    assert batch.inputs["video"][0].mean() < batch.inputs["video"][1].mean()
    assert batch.records[1]["video_id"] == "dog/b.mp4"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"image": "../a.png", "label": "cat"}',
            r"1: a file name must stay inside the media folder",
        ),
        (
            '{"picture": "a.png", "label": "cat"}',
            r"1: a row must name its file by 'video_id' or 'image'",
        ),
        (
            '{"image": "a.png", "label": "bird"}',
            r'1: a label must be one of cat, dog \(got "bird"\)',
        ),
        (
            '{"image": "a.png", "label": {"cat": 1}}',
            r"1: 'label' must be a label or a list of labels",
        ),
    ],
)
def test_wrong_rows_are_refused_with_their_line(
    tmp_path: Path, line: str, message: str
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(UserError, match=message):
        source(path, media=str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": ["cat", "cat"]}, "labels must be two or more different names"),
        ({"labels": None}, "the classes must be set by labels or by labels_file"),
        (
            {"labels_file": "names.txt"},
            "the classes must be set by labels or by labels_file",
        ),
        ({"types": {}}, "must read one of the inputs 'video' and 'image' .got none"),
    ],
)
def test_wrong_arguments_are_refused(
    photos: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        source(photos, **arguments)


def test_other_tasks_take_no_folder(photos: Path) -> None:
    task = MediaClassTask(labels=LABELS, types=IMAGES)
    task.reads_folders = False  # type: ignore[misc]
    with pytest.raises(UserError, match="the annotation file must exist, but"):
        FileSource(path=str(photos), task=task)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "kinetics.txt",
            "abseiling\nair drumming\n",
            {"abseiling": "abseiling", "air drumming": "air drumming"},
        ),
        (
            "synsets.txt",
            "n01440764 tench, Tinca tinca\nn01443537 goldfish\n",
            {"n01440764": "tench, Tinca tinca", "n01443537": "goldfish"},
        ),
        (
            "classInd.txt",
            "2 Archery\n1 ApplyEyeMakeup\n",
            {"ApplyEyeMakeup": "ApplyEyeMakeup", "Archery": "Archery"},
        ),
        (
            "labels.json",
            '{"Lifting a card": "1", "Closing a box": "0"}',
            {"Closing a box": "Closing a box", "Lifting a card": "Lifting a card"},
        ),
        ("list.json", '["b", "a"]', {"b": "b", "a": "a"}),
    ],
)
def test_lists_of_classes(
    tmp_path: Path, name: str, text: str, expected: dict[str, str]
) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert list(read_class_list(path).items()) == list(expected.items())
    assert MediaClassTask(labels_file=str(path), types=IMAGES).classes == list(
        expected.values()
    )


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.txt",
            "cat\ncat\n",
            r"two or more different names \(got 2, of them 1 different",
        ),
        ("a.txt", "", r"two or more different names \(got 0"),
        (
            "classInd.txt",
            "1 A\n3 B\n",
            "the numbers of classes must be 1 to 2, each once",
        ),
        ("a.json", '{"a": 0, "b": 2}', "a mapping from names to the numbers from 0"),
        ("a.json", "[1, 2]", "must be a list of names"),
        ("a.json", "{", "must be JSON, but is not valid JSON"),
    ],
)
def test_wrong_lists_of_classes_are_refused(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_class_list(path)


def test_targets_are_floats_of_the_number_of_classes(photos: Path) -> None:
    targets = batch_of(source(photos, labels=["cat", "dog", "bird"])).inputs["targets"]
    assert (targets.dtype, targets.shape) == (torch.float32, (3, 3))


def test_views_of_a_file_stay_together_and_are_averaged(tmp_path: Path) -> None:
    for name, grey in (("cat/a", 50), ("dog/b", 200)):
        (tmp_path / name).parent.mkdir(parents=True)
        encode(tmp_path / f"{name}.mp4", np.full((6, 32, 64, 3), grey, np.uint8))
    (tmp_path / "dog" / "c.mp4").write_text("no video")
    data = source(tmp_path, types=VIDEOS, clips=2, crops=3)
    (batch,) = eval_loader(data, 8, max_bad_fraction=1.0)
    assert batch.inputs["video"].shape == (18, 3, 4, 8, 8)
    assert batch.inputs["label"].tolist() == [0] * 6 + [1] * 12
    assert [record["view"] for record in batch.records] == [0, 1, 2, 3, 4, 5] * 3
    assert (
        batch.inputs["video"][12:] == 0
    ).all()  # black: the file that cannot be decoded
    assert data.task.counts(data.items) == {"cat": 1, "dog": 2}
    assert data.task.question("").view == 4  # prediction sees the middle
    assert len(source(tmp_path, types=VIDEOS, clips=2, crops=3, training=True)) == 3


def test_a_batch_is_mixed_in_training_alone(photos: Path) -> None:
    def batches(**arguments: Any) -> Any:
        data = source(photos, inputs=["image", "targets"], **arguments)
        samples = [data.read(request) for request in data.requests(0, 0)]
        return data.collate(samples).inputs  # type: ignore[arg-type]

    mixed, plain = batches(training=True, mixup=0.8), batches(training=True)
    assert not torch.equal(mixed["image"], plain["image"])
    torch.testing.assert_close(mixed["targets"].sum(dim=1), torch.ones(3))
    assert torch.equal(mixed["image"], batches(training=True, mixup=0.8)["image"])
    assert batches(mixup=0.8)["targets"].max(dim=1).values.tolist() == [1, 1, 1]
    with pytest.raises(UserError, match="must read 'targets', but reads 'label'"):
        source(photos, inputs=["image", "label"], training=True, cutmix=1.0)


def test_repeated_augmentation(photos: Path) -> None:
    data = source(photos, training=True, repeats=2, augment="crop")
    requests = data.requests(0, 0)
    assert len(requests) == len(data) == 3
    assert requests[0].items == requests[1].items != requests[2].items
    assert requests[0].seed != requests[1].seed
    assert [request.items for request in source(photos, repeats=2).requests(0, 0)] == [
        (0,),
        (1,),
        (2,),
    ]
    with pytest.raises(UserError, match="repeats must be at least 1"):
        source(photos, repeats=0)
