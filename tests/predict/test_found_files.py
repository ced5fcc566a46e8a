"""Which files are meant: folders without links out of them, pairs, lists; what is told where none is."""

from __future__ import annotations

from pathlib import Path

import pytest

from mplug2.predict.files import entries
from registry import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with clips, other files, hidden files, and links into it and out of it."""
    inside = tmp_path / "clips"
    for name in (
        "b.mp4",
        "a.MP4",
        "notes.txt",
        ".hidden.mp4",
        "deep/c.webm",
        ".git/d.mp4",
        "still.jpg",
    ):
        (inside / name).parent.mkdir(parents=True, exist_ok=True)
        (inside / name).write_bytes(b"x")
    (tmp_path / "secret.mp4").write_bytes(b"x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "e.mp4").write_bytes(b"x")
    (inside / "out.mp4").symlink_to(tmp_path / "secret.mp4")
    (inside / "within.mp4").symlink_to(inside / "b.mp4")
    (inside / "linked").symlink_to(tmp_path / "other")
    (inside / "loop").symlink_to(inside)
    return inside


def test_a_folder_is_walked_in_order_and_no_link_leads_out_of_it(folder: Path) -> None:
    found = [
        Path(one).relative_to(folder).as_posix()
        for (one,) in entries([folder], [], "video", 1)
    ]
    assert found == ["a.MP4", "b.mp4", "within.mp4", "deep/c.webm"]
    assert entries([folder], [], "image", 1) == [(str(folder / "still.jpg"),)]


def test_skipped_files_of_a_folder_are_reported_with_the_reason(folder: Path) -> None:
    lines: list[str] = []
    entries([folder], [], "video", 1, lines.append)
    assert lines == [
        f"{folder}: 3 files skipped (notes.txt, still.jpg: no video by the suffix; "
        "out.mp4: a link that leads out of the folder)"
    ]
    for number in range(6):
        (folder / "deep" / f"{number}.txt").touch()
    entries([folder / "deep"], [], "video", 1, lines.append)
    assert lines[1].endswith(
        "6 files skipped (0.txt, 1.txt, 2.txt, 3.txt, 4.txt, ...: no video by the suffix)"
    )


def test_images_of_all_formats_that_are_read_are_taken(tmp_path: Path) -> None:
    names = ["a.avif", "b.JP2", "c.heic", "d.png"]
    for name in names:
        (tmp_path / name).touch()
    lines: list[str] = []
    assert entries([tmp_path], [], "image", 1, lines.append) == [
        (str(tmp_path / name),) for name in names
    ]
    assert lines == []


def test_files_folders_and_lists_are_joined_in_the_order_given(
    folder: Path, tmp_path: Path
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("# clips\nsome where/x.mp4\r\n\nö.mp4\n")
    found = entries([Path("first.mp4"), folder / "deep"], [listed], "video", 1)
    assert found == [
        ("first.mp4",),
        (str(folder / "deep" / "c.webm"),),
        ("some where/x.mp4",),
        ("ö.mp4",),
    ]


def test_pairs_are_named_in_turn_or_stand_on_one_line(tmp_path: Path) -> None:
    listed = tmp_path / "pairs.txt"
    listed.write_text("e.jpg\tf.jpg\n")
    named = [Path(f"{name}.jpg") for name in "abcd"]
    assert entries(named, [listed], "image", 2) == [
        ("a.jpg", "b.jpg"),
        ("c.jpg", "d.jpg"),
        ("e.jpg", "f.jpg"),
    ]


@pytest.mark.parametrize(
    ("named", "text", "each", "message"),
    [
        (["a.jpg"], None, 2, "name them alternately, --image A --image B; there are 1"),
        (["."], None, 2, "must be a file, for the network compares 2 images"),
        ([], "a.jpg\tb.jpg\nc.jpg\n", 2, "list.txt:2: a line must be 2 path(s)"),
        ([], "a\0b.jpg\n", 1, "list.txt:1: a line must be 1 path(s)"),
        ([], "# nothing\n\n", 1, "name at least one file: --image FILE"),
        (["."], None, 1, "must hold images (.avif .bmp "),
        ([], b"\xff\xfe", 1, "must be text with one path a line"),
        (["no/list"], None, 0, "no/list"),
    ],
)
def test_mistakes_are_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: list[str],
    text: object,
    each: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    listed = tmp_path / "lists" / "list.txt"
    listed.parent.mkdir()
    if text is not None:
        listed.write_bytes(text if isinstance(text, bytes) else str(text).encode())
    lists = [listed] if text is not None else []
    if each == 0:  # a list that does not exist
        named, lists, each = [], [Path(named[0])], 1
    with pytest.raises(UserError) as caught:
        entries([Path(name) for name in named], lists, "image", each)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_links_to_nothing_or_in_a_circle_are_named_and_read_by_nobody(
    tmp_path: Path,
) -> None:
    (tmp_path / "gone.png").symlink_to("missing.png")
    (tmp_path / "circle.png").symlink_to("circle.png")
    found = entries([tmp_path], [], "image", 1)
    assert [Path(one).name for (one,) in found] == ["circle.png", "gone.png"]


def test_a_list_may_begin_with_a_mark_of_its_encoding(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfa.png\r\n" + b"x" * 5000 + b"\n")
    assert entries([], [tmp_path / "list.txt"], "image", 1) == [
        ("a.png",),
        ("x" * 5000,),
    ]


def test_a_path_that_is_too_long_is_a_file_that_does_not_exist() -> None:
    assert entries([Path("x" * 5000)], [], "image", 1) == [("x" * 5000,)]
