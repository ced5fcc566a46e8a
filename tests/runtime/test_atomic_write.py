"""A file is there whole, or what was there stays."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from mplug2.runtime.atomic_write import atomic_write
from registry.errors import UserError


def test_a_file_gets_its_name_when_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.jsonl"
    with atomic_write(path) as file:
        file.write("caf\u00e9\n")
        assert not path.exists()
    assert path.read_bytes() == "caf\u00e9\n".encode()
    assert list(path.parent.iterdir()) == [path]


def test_what_was_there_stays_when_writing_breaks_off(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    path.write_text("old")
    with contextlib.suppress(KeyboardInterrupt), atomic_write(path) as file:
        file.write("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"below\.jsonl cannot be written"),
        atomic_write(tmp_path / "file/below.jsonl"),
    ):
        pass
