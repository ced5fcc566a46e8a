"""What is read from sources comes from the user's cache until a source changes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import modules
import mplug2
from registry import MODULES, OPERATIONS, TASKS, UserError
from registry.language import source_facts
from registry.language.locate import Definition
from registry.language.source_facts import CACHE, read_facts

BASE = """\
class Above:
    def __init__(self, depth: int = 2, **settings: int) -> None: ...
"""
CODE = """\
from cached_base import Above
from elsewhere import Missing


class Thing(Above, Missing):
    \"\"\"A thing. It does nothing.\"\"\"

    inputs = {"a?": "tokens B L width"}
    outputs = "vector B width"
    conditions = ("width > depth",)

    def __init__(self, width: int, sizes: object = (1, 2), odd: object = {}, **settings: int) -> None: ...

    def forward(self, a: object, *, flag: bool = False, names: object = {"x": (None, [1.5])}) -> None: ...
"""
TARGET = "cached_thing:Thing"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with a class and its base in two old files, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))
    write(tmp_path / "cached_thing.py", CODE, 100)
    write(tmp_path / "cached_base.py", BASE, 100)
    return tmp_path


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The targets whose sources were parsed."""
    targets: list[str] = []
    read = source_facts.definition

    def definition(target: str) -> Definition:
        targets.append(target)
        return read(target)

    monkeypatch.setattr(source_facts, "definition", definition)
    return targets


def write(file: Path, text: str, changed: float) -> None:
    file.write_text(text)
    os.utime(file, (changed, changed))


def all_targets() -> Iterator[str]:
    for registry in (MODULES, OPERATIONS, TASKS):
        yield from (registry.target(name) for name in registry.names())


def test_facts_from_the_cache_are_those_of_the_source(
    folder: Path, parsed: list[str]
) -> None:
    first = read_facts(TARGET)
    assert read_facts(TARGET) == first
    assert parsed == [TARGET]
    assert first.arguments["sizes"].default == (1, 2)
    assert first.options["names"].default == {"x": (None, [1.5])}
    assert first.arguments["width"].required
    assert list(first.arguments) == ["width", "sizes", "odd", "depth"]


def test_all_shipped_names_have_the_same_facts_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert modules and mplug2  # They register the names.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(source_facts, "is_recent", lambda file: False)
    targets = list(all_targets())
    parsed = [read_facts(target) for target in targets]
    monkeypatch.delattr(source_facts, "definition")
    cached = [read_facts(target) for target in targets]
    assert len(targets) > 30
    assert cached == parsed


@pytest.mark.parametrize("name", ["cached_thing.py", "cached_base.py"])
def test_a_changed_source_is_read_again(
    folder: Path, parsed: list[str], name: str
) -> None:
    read_facts(TARGET)
    text = (folder / name).read_text()
    write(
        folder / name,
        text.replace("depth: int = 2", "depth: int = 3").replace("A thing", "One"),
        200,
    )
    again = read_facts(TARGET)
    assert parsed == [TARGET, TARGET]
    assert (again.arguments["depth"].default, again.doc) == (
        (3, "A thing.") if name == "cached_base.py" else (2, "One.")
    )


def test_a_base_class_that_appears_is_read(folder: Path, parsed: list[str]) -> None:
    before = read_facts(TARGET)
    write(
        folder / "elsewhere.py",
        BASE.replace("Above", "Missing").replace("depth", "extra"),
        100,
    )
    sys.path_importer_cache.clear()  # As in another process.
    assert "extra" not in before.arguments
    assert "extra" in read_facts(TARGET).arguments
    assert parsed == [TARGET, TARGET]


def test_a_source_that_has_just_changed_is_not_stored(
    folder: Path, parsed: list[str]
) -> None:
    (folder / "cached_base.py").touch()
    assert read_facts(TARGET) == read_facts(TARGET)
    assert parsed == [TARGET, TARGET]


@pytest.mark.parametrize(
    "record",
    [
        None,
        3,
        [],
        {},
        {"modules": [["cached_thing"]]},
        {"modules": [], "literals": ["dict", 3]},
    ],
)
def test_a_damaged_record_is_ignored(
    folder: Path, parsed: list[str], record: object
) -> None:
    facts = read_facts(TARGET)
    CACHE.write(source_facts._key(TARGET), record)
    assert read_facts(TARGET) == facts
    assert parsed == [TARGET, TARGET]


def test_a_default_that_json_does_not_have_is_read_from_the_source(
    folder: Path, parsed: list[str]
) -> None:
    write(folder / "cached_thing.py", CODE.replace("= {},", "= {1, 2},"), 100)
    assert read_facts(TARGET).arguments["odd"].default == {1, 2}
    assert read_facts(TARGET).arguments["odd"].default == {1, 2}
    assert len(parsed) == 2


def test_a_mistake_is_reported_each_time(folder: Path) -> None:
    for _ in range(2):
        with pytest.raises(UserError, match="defines no 'Nothing'"):
            read_facts("cached_thing:Nothing")


@pytest.mark.parametrize(
    ("doc", "sentence"),
    [
        (None, ""),
        ("A thing. More of it.", "A thing."),
        ("\n    Two\n    lines of it\n   \n    and a paragraph", "Two lines of it."),
    ],
)
def test_the_first_sentence_is_one_line(doc: str | None, sentence: str) -> None:
    assert source_facts.first_sentence(doc) == sentence
