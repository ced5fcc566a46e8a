"""Public lists of classes: Kinetics, Something-Something v2, UCF101, HMDB51, ImageNet's validation lists."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mplug2.data.formats.classes import (
    HMDB51,
    hmdb51,
    imagenet_numbers,
    imagenet_solution,
    kinetics,
    something,
    ucf101,
)
from mplug2.data.prepare import prepare
from registry.errors import UserError

Rows = Callable[..., Iterator[dict[str, Any]]]


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_kinetics(tmp_path: Path) -> None:
    header = "label,youtube_id,time_start,time_end,split\n"
    table = written(
        tmp_path,
        "val.csv",
        header + '"tying knot (not on a tie)",-3B32lodo2M,59,69,val\n',
    )
    assert list(kinetics(table)) == [
        {"video_id": "-3B32lodo2M_000059_000069", "label": "tying knot (not on a tie)"}
    ]
    unlabelled = written(
        tmp_path, "test.csv", "youtube_id,time_start,time_end,split\nabc,0,10,test\n"
    )
    assert list(kinetics(unlabelled)) == [{"video_id": "abc_000000_000010"}]


def test_something_something_by_its_template(tmp_path: Path) -> None:
    entries = [
        {
            "id": "78687",
            "label": "holding potato next to vicks",
            "template": "Holding [something] next to [something]",
            "placeholders": ["potato", "vicks"],
        },
        {"id": "1420"},
    ]
    path = written(tmp_path, "train.json", json.dumps(entries))
    assert list(something(path)) == [
        {"video_id": "78687", "label": "Holding something next to something"},
        {"video_id": "1420"},
    ]


def test_ucf101(tmp_path: Path) -> None:
    train = written(
        tmp_path, "trainlist01.txt", "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\n"
    )
    test = written(
        tmp_path, "testlist01.txt", "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi\n"
    )
    names = [row["video_id"] for path in (train, test) for row in ucf101(path)]
    assert names == [
        f"ApplyEyeMakeup/v_ApplyEyeMakeup_g{group}_c01" for group in ("08", "01")
    ]
    assert next(ucf101(test))["label"] == "ApplyEyeMakeup"


def test_hmdb51_by_its_marks(tmp_path: Path) -> None:
    assert len(set(HMDB51)) == 51
    lines = "A_clap_u_0.avi 1 \nB_clap_u_1.avi 2 \nC_clap_u_2.avi 0 \n"
    path = written(tmp_path, "clap_test_split2.txt", lines)
    for mark, name in (("1", "A_clap_u_0"), ("2", "B_clap_u_1")):
        rows = list(hmdb51(path, mark=mark, ending="_test_split2.txt"))
        assert rows == [{"video_id": f"clap/{name}", "label": "clap"}]


def test_imagenet_by_both_lists(tmp_path: Path) -> None:
    solution = written(
        tmp_path,
        "LOC_val_solution.csv",
        "ImageId,PredictionString\nILSVRC2012_val_00000001,n01443537 1 2 3 4 n01443537 5 6 7 8\n",
    )
    synsets = written(
        tmp_path,
        "synset_words.txt",
        "n01440764 tench, Tinca tinca\nn01443537 goldfish\n",
    )
    numbers = written(tmp_path, "val.txt", "ILSVRC2012_val_00000001.JPEG 1\n")
    expected = [{"image": "ILSVRC2012_val_00000001.JPEG", "label": "n01443537"}]
    assert (
        list(imagenet_solution(solution))
        == list(imagenet_numbers(numbers, synsets))
        == expected
    )


@pytest.mark.parametrize(
    ("rows", "line", "message"),
    [
        (ucf101, "v_ApplyEyeMakeup.avi 1", r":1: a line must be CLASS/NAME.avi"),
        (ucf101, "../x/v.avi", r":1: a file name must stay inside"),
        (
            partial(hmdb51, mark="1", ending=".txt"),
            "a.avi 3",
            r":1: a line must be NAME.avi and 0, 1 or 2",
        ),
        (
            kinetics,
            "label,youtube_id,time_start,time_end\na,b,x,1",
            "'time_start' must be an integer",
        ),
        (kinetics, "label,youtube_id\na,b", "there must be 'time_start'"),
        (something, '[{"template": "Lifting [something]"}]', "there must be 'id'"),
    ],
)
def test_wrong_lines_are_refused_with_their_place(
    tmp_path: Path, rows: Rows, line: str, message: str
) -> None:
    path = written(tmp_path, "list.txt", line + "\n")
    with pytest.raises(UserError, match=message):
        list(rows(path))


def test_a_number_beyond_the_synsets_is_refused(tmp_path: Path) -> None:
    synsets = written(tmp_path, "synsets.txt", "n01440764\nn01443537\n")
    numbers = written(tmp_path, "val.txt", "a.JPEG 2\n")
    with pytest.raises(
        UserError, match=r"val.txt:1: a line must be NAME.JPEG and a number from 0 to 1"
    ):
        list(imagenet_numbers(numbers, synsets))


def test_prepare_writes_what_the_task_reads(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    for name in HMDB51:
        line = f"x_{name}.avi 1\ny_{name}.avi 2\n"
        written(tmp_path / "lists", f"{name}_test_split1.txt", line)
    done = prepare("hmdb51", tmp_path / "lists", tmp_path / "out")
    assert [(part.split, part.entries) for part in done.written] == [
        ("train", 51),
        ("test", 51),
    ]
    assert set(done.missing_sources) == {"train2", "test2", "train3", "test3"}
    first = json.loads((tmp_path / "out" / "test.jsonl").read_text().splitlines()[0])
    assert first == {"video_id": "brush_hair/y_brush_hair", "label": "brush_hair"}
