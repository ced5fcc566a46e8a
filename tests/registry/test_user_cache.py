"""Results are kept between processes; a cache that cannot be used changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from registry.user_cache import UserCache, cache_folder, file_state, is_recent


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UserCache:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return UserCache("things", most_entries=3)


def test_a_value_is_read_back_by_its_key_alone(cache: UserCache) -> None:
    assert cache.read("key") is None
    cache.write("key", {"sizes": [1, 2.5, None]})
    assert cache.read("key") == {"sizes": [1, 2.5, None]}
    assert cache.read("other key") is None


def test_an_entry_of_another_key_with_the_same_checksum_is_not_taken(
    cache: UserCache,
) -> None:
    cache.write("key", 1)
    os.replace(cache._file("key"), cache._file("other"))
    assert cache.read("other") is None


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"{", b'["key"]', b"3", b"[" * 100_000]
)
def test_a_damaged_entry_is_ignored(cache: UserCache, content: bytes) -> None:
    cache.write("key", 1)
    cache._file("key").write_bytes(content)
    assert cache.read("key") is None
    cache.write("key", 2)
    assert cache.read("key") == 2


@pytest.mark.parametrize("value", [{1, 2}, object(), b"bytes"])
def test_what_json_does_not_have_is_not_stored(cache: UserCache, value: object) -> None:
    cache.write("key", value)
    assert cache.read("key") is None


def test_a_folder_that_cannot_be_written_is_ignored(
    cache: UserCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    cache.write("key", 1)
    assert cache.read("key") is None


def test_the_folder_is_bounded_and_holds_complete_entries_alone(
    cache: UserCache,
) -> None:
    for number in range(5):
        cache.write(f"key {number}", number)
        os.utime(cache._file(f"key {number}"), (number, number))
    present = [number for number in range(5) if cache.read(f"key {number}") is not None]
    assert present == [2, 3, 4]
    assert (
        sorted(path.suffix for path in cache_folder("things").iterdir())
        == [".json"] * 3
    )


def test_a_full_folder_makes_room_for_some_entries_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = UserCache("many", most_entries=20)
    sizes = []
    for number in range(24):
        cache.write(f"key {number}", number)
        os.utime(cache._file(f"key {number}"), (number, number))
        sizes.append(len(list(cache_folder("many").iterdir())))
    assert sizes[19:] == [20, 18, 19, 20, 18]
    assert cache.read("key 5") is None
    assert cache.read("key 6") == 6


def test_the_state_of_a_file_changes_with_its_size_and_time(tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    file.write_text("x = 1\n")
    assert is_recent(str(file))
    os.utime(file, (100, 100))
    before = file_state(str(file))
    assert not is_recent(str(file))
    assert file_state(str(file)) == before
    file.write_text("x = 2\n")
    os.utime(file, (101, 101))
    assert file_state(str(file)) != before
