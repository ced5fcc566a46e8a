"""Old words in the file of a spec, replaced in place: comments and layout stay."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from registry.language.aliases import SHIPPED_MODULES, SHIPPED_STREAMS, Words
from registry.language.renames import Rename, Renames, reference_edits
from registry.yaml.merge import read_tree
from registry.yaml.parse import parse
from registry.yaml.tree import Node, Source

# Sections whose keys or texts begin with the name of a module.
_PATTERNS = ("freeze", "init", "tie", "lr", "no_decay")
_CALLEE = re.compile(r"\s*([A-Za-z_]\w*)\s*\(")
_HANDED_ON = re.compile(r"@([A-Za-z_]\w*)")
_FIRST_WORD = re.compile(r"!?([A-Za-z_]\w*)(?=\.|$)")


def migrated(path: str | os.PathLike[str]) -> tuple[str, list[Rename]]:
    """Return the text of a spec's file in new words, and what was replaced; raise `SpecError`.

    The streams and modules of shipped specs are renamed where the file extends a spec that has the new name.
    """
    # Line breaks are kept: the text is written back.
    with open(path, encoding="utf-8-sig", newline="") as stream:
        text = stream.read()
    renames = Renames()
    # With all that it extends: which inputs are renamed depends on the tasks there.
    renames.inputs(read_tree(path, (), renames.apply))
    # Files that this one extends have old words, too, but are not rewritten with it.
    in_file = [
        rename for rename in renames.finish() if rename.location.file == str(path)
    ]
    in_file += _shipped_names(path, text)
    in_file.sort(key=lambda rename: (rename.location.line, rename.location.column))
    return _replaced(text, in_file), in_file


def _replaced(text: str, renames: list[Rename]) -> str:
    lines = text.split("\n")
    # From the end, so that the columns before a replacement stay right.
    for rename in reversed(renames):
        number = rename.location.line - 1
        line = lines[number]
        start = line.find(rename.old, rename.location.column - 1)  # a key may be quoted
        end = start + len(rename.old)
        lines[number] = line[:start] + rename.new + line[end:]
    return "\n".join(lines)


def _shipped_names(path: str | os.PathLike[str], text: str) -> list[Rename]:
    """Return the streams and modules of a file that have a new name in the shipped specs that it extends."""
    root = parse(Source(str(path), text))
    parents = root.value.get("extends") if isinstance(root.value, dict) else None
    if parents is None:
        return []
    names = parents.value if isinstance(parents.value, list) else [parents]
    streams: dict[str, str] = {}
    modules: dict[str, str] = {}
    for name in names:
        parent = os.path.normpath(os.path.join(os.path.dirname(path), name.value))
        base = read_tree(parent, (), Renames().apply)
        streams |= _new_names(base, "flow", SHIPPED_STREAMS)
        modules |= _new_names(base, "modules", SHIPPED_MODULES)
    # Each place once, by whatever rule it was found.
    return list(dict.fromkeys(_NameFinder(streams, modules).find(root)))


def _new_names(base: Node, section: str, words: Words) -> dict[str, str]:
    node = base.value.get(section)
    present = node.value if node is not None and isinstance(node.value, dict) else {}
    names = {}
    for old, new in words.items():
        # A spec may use the old name for another stream.
        if new in present and old not in present:
            names[old] = new
    return names


class _NameFinder:
    """Finds the names of streams and modules in the tree of a file."""

    def __init__(self, streams: Mapping[str, str], modules: Mapping[str, str]) -> None:
        self.streams, self.modules = streams, modules

    def find(self, root: Node) -> Iterator[Rename]:
        for section, node in root.value.items():
            if section in _PATTERNS and isinstance(node.value, dict | list):
                yield from self._patterns(node)
            if not isinstance(node.value, dict):
                continue
            if section == "flow":
                yield from self._keys(node, self.streams)
                yield from self._lines(node)
            elif section == "goals":
                for outputs in node.value.values():
                    yield from self._lines(outputs)
            elif section == "modules":
                yield from self._keys(node, self.modules)
            elif section == "train":
                for key in ("lr", "no_decay"):
                    if key in node.value:
                        yield from self._patterns(node.value[key])

    def _keys(self, node: Node, words: Mapping[str, str]) -> Iterator[Rename]:
        for key, entry in node.value.items():
            if key in words and entry.key is not None:
                yield Rename(entry.key, key, words[key])

    def _lines(self, node: Node) -> Iterator[Rename]:
        entries = node.value.values() if isinstance(node.value, dict) else ()
        for entry in entries:
            if not isinstance(entry.value, str):
                continue
            for edit in reference_edits(entry.value, self.streams):
                old = entry.value[edit.start : edit.end]
                yield Rename(entry.at(edit.start), old, edit.new)
            # Modules are what a line calls, and what it hands on by `@`.
            matches = list(_HANDED_ON.finditer(entry.value))
            if callee := _CALLEE.match(entry.value):
                matches.insert(0, callee)
            for match in matches:
                old = match[1]
                if old in self.modules:
                    yield Rename(entry.at(match.start(1)), old, self.modules[old])

    def _patterns(self, node: Node) -> Iterator[Rename]:
        if isinstance(node.value, dict):
            for key, entry in node.value.items():
                match = _FIRST_WORD.match(key)
                if match and match[1] in self.modules and entry.key is not None:
                    yield Rename(entry.key, match[1], self.modules[match[1]])
                yield from self._patterns(entry)
        elif isinstance(node.value, list):
            for entry in node.value:
                yield from self._patterns(entry)
        elif isinstance(node.value, str):
            match = _FIRST_WORD.match(node.value)
            if match and match[1] in self.modules:
                yield Rename(node.at(match.start(1)), match[1], self.modules[match[1]])
