"""Plain values of Python to trees: mappings, lists and scalars whose places are key paths."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from registry.errors import Location, SpecError
from registry.yaml.merge import Modernize, set_modern, unchanged
from registry.yaml.tree import DEEPEST, Node

LARGEST_INTEGER = 10**18  # YAML's scalars have at most 18 digits
HALF_CHARACTER = re.compile(r"[\ud800-\udfff]")


class KeyPath(str):
    """The keys to a value, joined by dots: `modules.vision.width`."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys one by one."""
        return tuple(self.split("."))

    def place(self, name: str) -> Location:
        """Return the path as a place of a spec of this name."""
        return Location(name, text=str(self))

    def child(self, key: str) -> KeyPath:
        """Return the path of a key below this one."""
        return KeyPath(f"{self}.{key}" if self else key)


def tree_of(sections: Mapping[str, Any], name: str) -> Node:
    """Return the tree of a spec that plain mappings describe; raise `SpecError` at what YAML cannot hold."""
    if not isinstance(sections, Mapping):
        message = (
            f"a spec must be a mapping of sections, but is {type(sections).__name__}"
        )
        raise SpecError.at(Location(name), message)
    if "extends" in sections:
        message = "a spec of mappings cannot extend a file"
        raise SpecError.at(
            KeyPath("extends").place(name), message, "Spec.read(FILE).with_({...})"
        )
    return _node(sections, KeyPath(), name)


def override_value(
    root: Node, path: KeyPath, value: Any, modernize: Modernize = unchanged
) -> Node:
    """Return the tree with a plain value at a path of keys; None deletes, a mapping is merged."""
    place = path.place("with_")
    if not all(path.keys):
        raise SpecError.at(
            place, "a key path must be words with dots", "for example `train.lr`"
        )
    if path.keys[0] == "extends":
        raise SpecError.at(
            place, "a value cannot set what a spec extends", "read another file"
        )
    return set_modern(root, path.keys, _node(value, path, "with_"), place, modernize)


def _node(value: Any, path: KeyPath, name: str, depth: int = 0) -> Node:
    place = path.place(name)
    if depth > DEEPEST:
        message = (
            f"a spec must be nested at most {DEEPEST} deep, but this value is deeper"
        )
        raise SpecError.at(place, message)
    if isinstance(value, Mapping):
        return Node(_entries(value, path, name, depth), place, place)
    if isinstance(value, list | tuple):
        items = []
        for index, item in enumerate(value):
            items.append(_node(item, path.child(str(index)), name, depth + 1))
        return Node(items, place, place)
    _check_scalar(value, place)
    return Node(value, place, place)


def _entries(
    value: Mapping[Any, Any], path: KeyPath, name: str, depth: int
) -> dict[str, Node]:
    entries: dict[str, Node] = {}
    for key, item in value.items():
        # YAML would read `1:` back as the text '1'.
        if not isinstance(key, str):
            raise SpecError.at(path.place(name), f"a key must be a text (got {key!r})")
        entries[key] = _node(item, path.child(key), name, depth + 1)
    return entries


def _check_scalar(value: Any, place: Location) -> None:
    """Raise `SpecError` for a value that no spec in YAML can hold."""
    if value is None or type(value) is bool:
        return
    # The exact type: a subclass might be written in another way.
    if type(value) is str:
        if HALF_CHARACTER.search(value):
            message = f"a text must not hold half a character (got {value!a})"
            raise SpecError.at(place, message)
    elif type(value) is int:
        if abs(value) >= LARGEST_INTEGER:
            digits = len(str(value))
            message = f"a number must have at most 18 digits (got {digits} digits)"
            raise SpecError.at(place, message)
    elif type(value) is float:
        if not math.isfinite(value):
            raise SpecError.at(place, f"a number must be finite (got {value})")
    else:
        what = f"{type(value).__module__}.{type(value).__qualname__}"
        message = f"a value must be a text, a number, a truth value, a list or a mapping (got {what})"
        raise SpecError.at(
            place, message, "convert it: `int(...)`, `float(...)`, `str(...)`"
        )
