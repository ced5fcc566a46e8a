"""Tables of users: what is read, repaired and refused, and how rows are split."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from mplug2.data.own_table import (
    Columns,
    OwnTable,
    class_names,
    read_own_table,
    split_rows,
)
from registry.errors import UserError

QA = Columns({"question": "Q", "answer": "A"})


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    for name in ("a.mp4", "sub/b.MP4", "x/same.avi", "y/same.avi", "still.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def read(
    tmp_path: Path,
    text: str,
    clips: Path | None,
    columns: Columns = QA,
    name: str = "t.csv",
) -> OwnTable:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_own_table(path, columns, clips)


def test_rows_become_json_lines(tmp_path: Path, clips: Path) -> None:
    table = read(
        tmp_path, 'file,Q,A\na.mp4,what?,"red, or blue"\nsub/b.MP4,who?,2\n', clips
    )
    assert table.kind == "video"
    assert table.rows == [
        ("", {"video_id": "a.mp4", "question": "what?", "answer": "red, or blue"}),
        ("", {"video_id": "sub/b.MP4", "question": "who?", "answer": "2"}),
    ]
    assert (table.repaired.total, table.refused.total) == (0, 0)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_and_a_byte_order_mark(
    tmp_path: Path, clips: Path, separator: str
) -> None:
    text = "\ufefffile,Q,A\r\na.mp4,what?,red\r\n".replace(",", separator)
    assert len(read(tmp_path, text, clips).rows) == 1


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a", "a.mp4"),
        ("A.MP4", "a.mp4"),
        ("b", "sub/b.MP4"),
        ("sub\\b.mp4", "sub/b.MP4"),
        ("./a.mp4", "a.mp4"),
    ],
)
def test_names_of_files_are_completed(
    tmp_path: Path, clips: Path, name: str, file: str
) -> None:
    table = read(tmp_path, f"file,Q,A\n{name},what?,red\n", clips)
    assert table.rows[0][1]["video_id"] == file
    assert table.repaired.counts == {"names of files were completed or corrected": 1}


def test_an_absolute_path_below_the_folder(tmp_path: Path, clips: Path) -> None:
    table = read(tmp_path, f"file,Q,A\n{clips / 'sub' / 'b.MP4'},what?,red\n", clips)
    assert table.rows[0][1]["video_id"] == "sub/b.MP4"


REFUSED = {
    "a.mp4,,red": "'Q' is empty",
    "a.mp4,what?,  ": "'A' is empty",
    ",what?,red": "'file' is empty",
    "z.mp4,what?,red": "the video is not below CLIPS",
    "../a2.mp4,what?,red": "the video is not below CLIPS",
    "still.png,what?,red": "the video is not below CLIPS",
    "same,what?,red": "several videos below CLIPS have this name",
    "a.mp4,what?": "another number of columns",
    "a.mp4,what?,red,blue": "another number of columns",
}


@pytest.mark.parametrize("line", REFUSED)
def test_rows_are_refused_with_reason_and_place(
    tmp_path: Path, clips: Path, line: str
) -> None:
    table = read(tmp_path, f"file,Q,A\na.mp4,what?,red\n{line}\n", clips)
    reason = REFUSED[line].replace("CLIPS", str(clips))
    assert table.refused.counts == {reason: 1}
    assert table.refused.first == {reason: f"{tmp_path / 't.csv'}:3"}
    assert (table.rows_read, len(table.rows)) == (2, 1)


def test_spaces_are_removed_and_repeated_rows_left_out(
    tmp_path: Path, clips: Path
) -> None:
    text = 'file,Q,A\na.mp4," what\nmoves?",red\na.mp4,what moves?,red\n'
    table = read(tmp_path, text, clips)
    assert [row["question"] for _, row in table.rows] == ["what moves?"]
    assert table.repaired.counts == {
        "spaces and line breaks in 'Q' were removed": 1,
        "rows that repeat another one were left out": 1,
    }


def test_json_lines_with_lists_and_mistakes(tmp_path: Path, clips: Path) -> None:
    rows: list[Any] = [
        {"video": "a.mp4", "Q": "what?", "A": ["red", " blue"]},
        {"video": "a.mp4", "Q": 3, "A": 4.5},
        {"video": "a.mp4", "Q": "who?", "A": []},
        {"video": "a.mp4", "Q": ["x"], "A": "red"},
        {"video": "a.mp4", "Q": "who?"},
        [1],
    ]
    text = "\n".join([*map(json.dumps, rows), "{"])
    table = read(tmp_path, text, clips, name="t.jsonl")
    assert [row["answer"] for _, row in table.rows] == [["red", "blue"], "4.5"]
    assert table.refused.counts == {
        "'A' is empty": 2,
        "'Q' is not a text": 1,
        "the line is not a JSON object": 1,
        "the line is not JSON": 1,
    }


def test_a_packed_table_of_texts_with_splits(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv.gz"
    path.write_bytes(
        gzip.compress(b"T\tL\tS\ngood\tyes\tTrain\nbad\tno\tdev\nbad\tno\tmore\n")
    )
    table = read_own_table(path, Columns({"text": "T", "label": "L"}, split="S"))
    assert table.kind == "text"
    assert [split for split, _ in table.rows] == ["train", "val"]
    assert table.refused.counts == {"'S' is not train, val or test": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,Q,B\na.mp4,what?,red\n", "there is no column 'A'. Columns: file, Q, B"),
        (
            "clip,Q,A\na.mp4,what?,red\n",
            "--file must name the column of the files. Columns: clip, Q, A",
        ),
        (
            "file,Q,A,Q\na.mp4,what?,red,x\n",
            "the names of columns must differ (got 'Q' twice)",
        ),
        (
            "file,Q,A\nz.mp4,what?,red\n",
            "at least one row must be usable (got none of 1). the video is not",
        ),
        ("", "at least one row must be usable (got none of 0)"),
        (f"file,Q,A\na.mp4,{'x' * 200_000},red\n", "the table cannot be read"),
    ],
)
def test_tables_that_cannot_be_used_are_messages(
    tmp_path: Path, clips: Path, text: str, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, text, clips)
    assert message in str(caught.value)


def test_a_folder_without_media_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must hold images or videos"):
        read(tmp_path, "file,Q,A\n", tmp_path)


def rows_of(num_files: int) -> list[tuple[str, dict[str, Any]]]:
    return [
        ("", {"image": f"{index // 2}.png", "caption": str(index)})
        for index in range(2 * num_files)
    ]


def test_a_file_is_in_one_split_and_splits_do_not_depend_on_the_order() -> None:
    splits = split_rows(rows_of(50), val=0.1, test=0.2)
    files = {split: {row["image"] for row in rows} for split, rows in splits.items()}
    assert {split: len(names) for split, names in files.items()} == {
        "train": 35,
        "val": 5,
        "test": 10,
    }
    assert not files["train"] & files["val"]
    again = split_rows(reversed(rows_of(50)), val=0.1, test=0.2)
    assert {row["image"] for row in again["val"]} == files["val"]


def test_few_files_still_give_each_split_one() -> None:
    splits = split_rows(rows_of(4), val=0.1, test=0.1)
    assert [len(splits[name]) for name in ("train", "val", "test")] == [4, 2, 2]
    assert set(split_rows(rows_of(2), val=0.1, test=0.1)) == {"train"}
    assert set(split_rows(rows_of(9), val=0.0, test=0.0)) == {"train"}


def test_classes_are_sorted_and_at_least_two() -> None:
    assert class_names([{"label": "b"}, {"label": "a"}, {"label": "b"}]) == ["a", "b"]
    with pytest.raises(UserError, match="two or more labels"):
        class_names([{"label": "b"}])
