"""Whatever an annotation file holds, it is read within bounds or named with its place."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mplug2.data import files
from mplug2.data.rows import names, read_rows, shown
from registry.errors import UserError

DEEP = "[" * 100_000


def rows(folder: Path, content: bytes, name: str = "a.jsonl") -> list[tuple[str, Any]]:
    (folder / name).write_bytes(content)
    return list(read_rows(folder / name, "a line must be an object"))


@pytest.mark.parametrize("content", [DEEP, '{"image": ' + DEEP], ids=["list", "line"])
def test_json_that_is_too_deep_is_named(tmp_path: Path, content: str) -> None:
    with pytest.raises(UserError, match=r"a\.jsonl.*nested too deeply"):
        rows(tmp_path, content.encode())


def test_lines_of_any_editor_are_read(tmp_path: Path) -> None:
    for content in (b'{"a": 1}\n[2]\n', b'\xef\xbb\xbf{"a": 1}\r\n[2]\r\n'):
        assert [row for _, row in rows(tmp_path, content)] == [{"a": 1}, [2]]


def test_a_packed_file_is_read_and_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rows(tmp_path, gzip.compress(b'{"a": 1}\n'), "a.jsonl.gz")[0][1] == {"a": 1}
    monkeypatch.setattr(files.read_bytes, "__defaults__", (1000,))
    with pytest.raises(UserError, match=r"a\.jsonl\.gz must hold at most 1000 bytes"):
        rows(tmp_path, gzip.compress(b" " * 1001), "a.jsonl.gz")
    with pytest.raises(UserError, match=r"a\.jsonl\.gz cannot be read"):
        rows(tmp_path, b"not packed", "a.jsonl.gz")


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/a.png", "a/../../b.png", "a\0.png", "a\\b.png"]
)
def test_a_file_outside_the_media_folder_is_refused_with_its_place(name: str) -> None:
    for row in (
        {"image": name},
        {"images": ["a.png", name]},
        {"left": "a.png", "right": name},
    ):
        with pytest.raises(
            UserError,
            match=r"^x:7: a file name must (stay inside the media folder|be written with /)",
        ):
            names(row, "x:7")
    assert names({"image": "a/..b/c...png"}, "x:7") == ("image", ("a/..b/c...png",))


def test_what_is_no_json_is_shown_too() -> None:
    circle: list[Any] = []
    circle.append(circle)
    twice: list[Any] = []
    for _ in range(60):  # 2 ** 60 brackets, were it written out
        twice = [twice, twice]
    assert shown(circle) == "[[[[[[[...]]]]]]]"
    assert shown({(1, 2): 3}) == "{(1, 2): 3}"
    assert shown(b"x") == "\"b'x'\""
    assert shown(twice) == "[" * 37 + "..."
    assert shown(json.loads("[" * 500 + "]" * 500)) == "[" * 37 + "..."


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=30
    )
)
def test_what_is_short_is_shown_as_json(value: Any) -> None:
    said, whole = shown(value), json.dumps(value)
    assert (
        said == whole
        if len(whole) <= 40
        else (said[:37] == whole[:37] and len(said) == 40)
    )
