"""YAML text to a tree: from the user's cache where the same text was read before, or by the parser.

To import the parser and to read a spec and its bases with it takes longer than the checks.
"""

from __future__ import annotations

import importlib.util
import os
from functools import lru_cache
from typing import Any

from registry.errors import SpecError
from registry.user_cache import UserCache, file_state
from registry.yaml import tree
from registry.yaml.tree import Node, Source

LARGEST = 256 * 1024  # characters; the largest spec of the project has about 5,000
LARGEST_STORED = 64 * 1024  # characters; it bounds the size of the cache
CACHE = UserCache("specs", most_entries=1000)  # the shipped files alone are some 200
MAPPING, LIST, SCALAR = range(3)


def parse(source: Source) -> Node:
    """Return the tree of a YAML text; raise `SpecError` with all duplicate keys, or what cannot be read."""
    if len(source.text) > LARGEST:
        message = f"a spec must have at most {LARGEST} characters, but this one has {len(source.text)}"
        raise SpecError.at(source.place(0, 0), message)
    # The values of a sweep are read once each.
    if source.inline or len(source.text) > LARGEST_STORED:
        return _read(source)
    try:
        key = f"{_reader_state()}\n{source.text}"
    except OSError:
        return _read(source)
    record = CACHE.read(key)
    try:
        return _unpacked(record, source)
    # No entry, or not one that is written below.
    except (LookupError, TypeError, ValueError):
        root = _read(source)
    CACHE.write(key, _packed(root))
    return root


def _read(source: Source) -> Node:
    from registry.yaml.reader import read_yaml

    return read_yaml(source)


@lru_cache(maxsize=1)
def _reader_state() -> str:
    """Return the state of the code that reads YAML: another version may build other trees."""
    parser = importlib.util.find_spec("ruamel.yaml")
    folder = os.path.dirname(tree.__file__)
    files = [tree.__file__, __file__, os.path.join(folder, "reader.py")]
    if parser is not None and parser.origin is not None:
        files.append(parser.origin)
    return " ".join(map(file_state, files))


def _packed(node: Node) -> list[Any]:
    """Return a node of the parser as JSON can represent it: positions, kind, and what the kind needs.

    Lines and columns count from 1. All nodes have the same source, and keys are strings.
    """
    place = node.place
    if isinstance(node.value, dict):
        entries = []
        for name, child in node.value.items():
            key = child.key or child.place
            entries.append([name, key.line, key.column, _packed(child)])
        return [place.line, place.column, MAPPING, entries]
    if isinstance(node.value, list):
        return [place.line, place.column, LIST, [_packed(item) for item in node.value]]
    return [place.line, place.column, SCALAR, node.value, *node.span]


def _unpacked(record: Any, source: Source) -> Node:
    """Return the node of what `_packed` returned; raise `TypeError`, `ValueError` or `LookupError`."""
    line, column, kind, value, *span = record
    place = source.place(line - 1, column - 1)
    if kind == SCALAR:
        start, end = span
        return Node(value, place, source=source, span=(start, end))
    if kind == LIST:
        return Node([_unpacked(item, source) for item in value], place, source=source)
    # The cache is a folder of the user: its content is not trusted.
    if kind != MAPPING:
        raise ValueError(kind)
    entries: dict[str, Node] = {}
    for name, key_line, key_column, child in value:
        entries[name] = _unpacked(child, source)
        entries[name].key = source.place(key_line - 1, key_column - 1)
    return Node(entries, place, source=source)
