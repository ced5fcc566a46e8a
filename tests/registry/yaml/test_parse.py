"""A text that was read before comes from the user's cache, with all its places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from registry import SpecError
from registry.yaml import parse as parsing
from registry.yaml.parse import CACHE, parse
from registry.yaml.reader import read_yaml
from registry.yaml.tree import Node, Source

TEXT = """\
inputs: {text: text B L, empty: }
flow:
  x: "words(te\\u0078t)"
  y: >
    head(
      x)
freeze: [a, [1, 2.5, true], {b: null}]
"""
SPECS = sorted(Path(__file__).resolve().parents[3].glob("configs_*/**/*.yaml"))


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def described(node: Node) -> Any:
    """Return everything that a node holds, its children included."""
    places = (node.place, node.key, node.span, node.deleted, node.source)
    if isinstance(node.value, dict):
        return places, {name: described(child) for name, child in node.value.items()}
    if isinstance(node.value, list):
        return places, [described(item) for item in node.value]
    ends = (
        [node.at(offset) for offset in range(len(node.value))]
        if isinstance(node.value, str)
        else []
    )
    return places, type(node.value), node.value, ends


@pytest.mark.parametrize("text", ["", "3", "[]", "{}", "a: [\u00e4, '\u2028']", TEXT])
def test_a_tree_from_the_cache_is_that_of_the_parser(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source("x.yaml", text)
    first = described(parse(source))
    monkeypatch.delattr(parsing, "_read")
    assert described(parse(source)) == first
    assert parse(Source("other.yaml", text)).place.file == "other.yaml"


def test_all_shipped_files_have_the_same_trees_from_the_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert len(SPECS) > 40
    sources = [Source(str(file), file.read_text(encoding="utf-8")) for file in SPECS]
    parsed = [described(parse(source)) for source in sources]
    monkeypatch.delattr(parsing, "_read")
    assert [described(parse(source)) for source in sources] == parsed


def test_a_mistake_is_reported_each_time() -> None:
    for _ in range(2):
        with pytest.raises(SpecError, match="x:1:8: duplicate key 'a'"):
            parse(Source("x", "{a: 1, a: 2}"))


@pytest.mark.parametrize(
    "record", [None, 3, [], [1, 1, 9, []], [1, 1, 0, [["a", 1, 1]]], [1, 1, 2, "a", 0]]
)
def test_a_damaged_record_is_ignored(record: object) -> None:
    source = Source("x", "a: 1")
    parse(source)
    CACHE.write(f"{parsing._reader_state()}\n{source.text}", record)
    assert parse(source).plain() == {"a": 1}


def test_a_change_of_the_tree_does_not_reach_the_cache() -> None:
    source = Source("x", "extends: y\na: 1")
    parse(source).value.pop("extends")
    assert parse(source).plain() == {"extends": "y", "a": 1}


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ('train:\n  out: "a \\U00110000"\n', "2:11", "is not a character"),
        ('a: "\\UFFFFFFFF"\n', "1:5", "is not a character"),
        ("%YAML 1.3\n---\na: 1\n", "1:7", "YAML 1.3 is not supported"),
        (
            "# a spec\n%YAML 2.0\n---\na: 1\n",
            "2:7",
            "YAML 2.0 is not supported|incompatible",
        ),
    ],
)
def test_what_the_parser_cannot_convert_is_located(
    text: str, place: str, message: str
) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        read_yaml(Source("a.yaml", text))
    assert str(caught.value).startswith(f"a.yaml:{place.split(':')[0]}:")
