"""Old words of specs: found at their positions, and read as the new ones with a warning."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from registry.errors import Location, Problem, SpecError, require
from registry.language.aliases import (
    ARGUMENTS,
    INPUTS,
    KEYWORDS,
    OPERATIONS,
    SETTINGS,
    SOURCE_ARGUMENTS,
    VALUES,
    WEIGHT_SOURCES,
    Words,
)
from registry.yaml.tree import Edit, Node

# Strings, identifiers with the character before them, and everything else of a flow line.
_TOKEN = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[@.]?[A-Za-z_]\w*|\S""")
_KEYWORD = re.compile(r"\s*=(?!=)")


class RenamedWarning(FutureWarning):
    """A spec, a command or a checkpoint uses an old name; of a spec, `rename` has the words."""

    def __init__(self, message: str, rename: Rename | None = None) -> None:
        super().__init__(message)
        self.rename = rename


@dataclass(frozen=True, slots=True)
class Rename:
    """An old word in a source, and the new word."""

    location: Location
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.location}: {self.message}"

    @property
    def message(self) -> str:
        """Text of the warning after the position."""
        return f"'{self.old}' is now '{self.new}'"


def warn(renames: Iterable[Rename]) -> None:
    """Warn of old words; Python shows the same text once."""
    for rename in renames:
        warnings.warn(RenamedWarning(str(rename), rename), stacklevel=4)


@contextlib.contextmanager
def collected_renames() -> Iterator[list[Rename]]:
    """Collect the old words of the specs that are read inside, each once, instead of a warning."""
    renames: list[Rename] = []
    with warnings.catch_warnings():
        show = warnings.showwarning

        def collect(message: Warning | str, *arguments: Any, **options: Any) -> None:
            rename = message.rename if isinstance(message, RenamedWarning) else None
            if rename is None:
                show(message, *arguments, **options)
            elif rename not in renames:
                renames.append(rename)

        # A word that this process has warned of before is collected, too.
        warnings.simplefilter("always", RenamedWarning)
        warnings.showwarning = collect
        yield renames


@dataclass
class Renames:
    """Collects the old words of all files that a spec comes from, and the lines that use both words."""

    renames: list[Rename] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def apply(self, root: Node, base: Node | None = None) -> Node:
        """Return the tree of a file with new words; ``base`` is what the file extends, with new words."""
        require(root, Node, "tree")
        sections = dict(root.value)
        for name, words in SETTINGS.items():
            if name in sections and isinstance(sections[name].value, dict):
                sections[name] = self._settings(name, sections[name], words)
        modules = _mapping(sections.get("modules"))
        inherited = _mapping(base.value.get("modules")) if base is not None else {}
        if modules:
            renamed = {}
            for name, node in modules.items():
                renamed[name] = self._module(node, inherited.get(name))
            sections["modules"] = replace(sections["modules"], value=renamed)
        # A module or definition may have the old name of an operation: then it is what a line calls.
        local_names = {*modules, *inherited, *_definitions(root), *_definitions(base)}
        for name in ("flow", "define"):
            if name in sections:
                sections[name] = self._lines(sections[name], local_names)
        if first_weights := _mapping(sections.get("init")):
            entries = {key: self._source(node) for key, node in first_weights.items()}
            sections["init"] = replace(sections["init"], value=entries)
        return replace(root, value=sections)

    def _settings(self, section: str, node: Node, words: Words) -> Node:
        renamed = self._keys(node, words)
        nested = words if section == "eval" else {}
        if section == "data":
            renamed = self._keys(renamed, SOURCE_ARGUMENTS)
            nested = SOURCE_ARGUMENTS
        if not nested:
            return renamed
        # Named evaluations, and sources with their splits, have the same keys one level down.
        entries = {
            key: self._nested(entry, nested) for key, entry in renamed.value.items()
        }
        return replace(renamed, value=entries)

    def _nested(self, node: Node, words: Words) -> Node:
        """Return a node with new keys in all mappings of it."""
        if not isinstance(node.value, dict):
            return node
        entries = {key: self._nested(entry, words) for key, entry in node.value.items()}
        return self._keys(replace(node, value=entries), words)

    def _module(self, node: Node, inherited: Node | None) -> Node:
        if not isinstance(node.value, dict):
            return node
        # A file may change arguments of a module whose `use` another file sets.
        use = node.value.get("use") or _mapping(inherited).get("use")
        words = ARGUMENTS.get(str(use.value), {}) if use is not None else {}
        return self._keys(node, words)

    def _keys(self, node: Node, words: Words) -> Node:
        """Return a mapping with new keys; both words in one mapping are a problem."""
        entries: dict[str, Node] = {}
        for key, entry in node.value.items():
            new = words.get(key, key)
            if new != key:
                location = entry.key or entry.place
                # Which of the two values is meant cannot be decided here.
                if new in node.value:
                    self._both(location, key, new)
                    continue
                self.renames.append(Rename(location, key, new))
            entries[new] = entry
        return replace(node, value=entries)

    def _both(self, location: Location, old: str, new: str) -> None:
        message = f"'{old}' is now '{new}', and both are set"
        self.problems.append(Problem(location, message, f"delete '{old}'"))

    def _lines(self, node: Node, local_names: Collection[str]) -> Node:
        """Return the flow, or a definition, with new words in its lines."""
        if isinstance(node.value, dict):
            lines = {}
            for key, entry in node.value.items():
                lines[key] = self._lines(entry, local_names)
            return replace(node, value=lines)
        if not isinstance(node.value, str) or "(" not in node.value:
            return node
        edits, both = call_edits(node.value, local_names)
        for offset, old, new in both:
            self._both(node.at(offset), old, new)
        return self._edited(node, edits)

    def _edited(self, node: Node, edits: list[Edit]) -> Node:
        for edit in edits:
            old = node.value[edit.start : edit.end]
            self.renames.append(Rename(node.at(edit.start), old, edit.new))
        return node.edited(edits)

    def _source(self, node: Node) -> Node:
        if not isinstance(node.value, str):
            return node
        # `own:PATH` is now `checkpoint:PATH`.
        source, colon, _ = node.value.partition(":")
        if not colon or source not in WEIGHT_SOURCES:
            return node
        return self._edited(node, [Edit(0, len(source), WEIGHT_SOURCES[source])])

    def inputs(self, root: Node) -> Node:
        """Return the merged tree in which inputs have the names that the tasks of the spec supply."""
        words = self._input_words(root)
        if not words:
            return root
        sections = dict(root.value)
        sections["inputs"] = self._keys(sections["inputs"], words)
        for name in ("flow", "goals"):
            if name in sections:
                sections[name] = self._references(sections[name], words)
        if definitions := _mapping(sections.get("define")):
            bodies = {}
            for key, node in definitions.items():
                bodies[key] = self._definition(key, node, words)
            sections["define"] = replace(sections["define"], value=bodies)
        return replace(root, value=sections)

    def _definition(self, key: str, node: Node, words: Words) -> Node:
        """Return a definition in which inputs are renamed, but not its parameters and lines."""
        # The key has the parameters: `encode(text, @encoder)`.
        local_names = {*re.findall(r"\w+", key), *_mapping(node)}
        visible = {old: new for old, new in words.items() if old not in local_names}
        return self._references(node, visible)

    def _input_words(self, root: Node) -> dict[str, str]:
        inputs = _mapping(root.value.get("inputs"))
        flow = _mapping(root.value.get("flow"))
        present = [old for old in INPUTS if old in inputs and old not in flow]
        if not present:
            return {}
        # Read only now: specs without old inputs need no declaration of a task.
        supplied = _supplied(root)
        words = {}
        for old in present:
            # A task of another package may still supply the old name.
            if INPUTS[old] in supplied and old not in supplied:
                words[old] = INPUTS[old]
        return words

    def _references(self, node: Node, words: Words) -> Node:
        if isinstance(node.value, dict):
            entries = {}
            for key, entry in node.value.items():
                entries[key] = self._references(entry, words)
            return replace(node, value=entries)
        if not isinstance(node.value, str):
            return node
        return self._edited(node, reference_edits(node.value, words))

    def finish(self) -> tuple[Rename, ...]:
        """Return all renames; raise `SpecError` if a file uses an old word and its new one."""
        if self.problems:
            raise SpecError(self.problems)
        return tuple(dict.fromkeys(self.renames))


def call_edits(
    text: str, local_names: Collection[str]
) -> tuple[list[Edit], list[tuple[int, str, str]]]:
    """Return the edits that make a flow line new, and each old keyword whose new one is there, too.

    ``local_names``: modules and definitions of the spec, which hide operations of the same name.
    """
    callee = re.match(r"\s*([A-Za-z_]\w*)", text)
    if callee is None or callee[1] in local_names:
        return [], []
    operation = callee[1]
    edits = []
    if _is_old_operation(operation):
        operation = OPERATIONS[operation]
        edits.append(Edit(callee.start(1), callee.end(1), operation))
    # By the new name of the operation, which the line may have already.
    words = KEYWORDS.get(operation, {})
    keywords = dict(_keywords(text, callee.end()))
    both = []
    for keyword, token in keywords.items():
        new = words.get(keyword, keyword)
        if new != keyword and new in keywords:
            both.append((token.start(), keyword, new))
        elif new != keyword:
            edits.append(Edit(token.start(), token.end(), new))
        edits += _value_edits(text, token.end(), VALUES.get((operation, new), {}))
    return edits, both


def reference_edits(text: str, words: Words) -> list[Edit]:
    """Return the edits of the streams that a flow line or an output reads: no fields, keywords or strings."""
    edits = []
    for token in _TOKEN.finditer(text):
        # `owner=owner` names a port and reads a stream: only the second is a reference.
        is_keyword = _KEYWORD.match(text, token.end())
        is_called = text[token.end() :].lstrip().startswith("(")
        if token.group() in words and not is_keyword and not is_called:
            edits.append(Edit(token.start(), token.end(), words[token.group()]))
    return edits


def _keywords(text: str, start: int) -> Iterator[tuple[str, re.Match[str]]]:
    for token in _TOKEN.finditer(text, start):
        if token.group().isidentifier() and _KEYWORD.match(text, token.end()):
            yield token.group(), token


def _value_edits(text: str, start: int, words: Words) -> list[Edit]:
    """Return the edit of a quoted value after a keyword."""
    value = re.compile(r"\s*=\s*(['\"])(\w+)\1").match(text, start)
    if value is None or value[2] not in words:
        return []
    return [Edit(value.start(2), value.end(2), words[value[2]])]


def _is_old_operation(name: str) -> bool:
    if name not in OPERATIONS:
        return False
    # Imported here: reading a spec needs no registry unless it has an old word.
    from registry.registries import OPERATIONS as registered

    # An operation of another package may have one of the old names.
    return name not in registered


def _supplied(root: Node) -> set[str]:
    """Return the inputs that the tasks of a spec supply."""
    from registry.errors import UserError
    from registry.registries import TASKS

    data = root.value.get("data")
    supplied: set[str] = set()
    for task in _tasks(data) if data is not None else ():
        if task in TASKS:
            try:
                supplied |= set(TASKS.declaration(task).outputs)
            except UserError:
                continue  # The checks report a task that cannot be read.
    return supplied


def _tasks(data: Node) -> Iterator[str]:
    entries = _mapping(data)
    for source in (data, *_mapping(entries.get("sources")).values()):
        for key in ("task", "kind"):
            task = _mapping(source).get(key)
            if task is not None and isinstance(task.value, str):
                yield task.value


def _definitions(root: Node | None) -> set[str]:
    """Return the names of the definitions of a spec, without their parameters."""
    names = _mapping(root.value.get("define")) if root is not None else {}
    return {name.partition("(")[0].strip() for name in names}


def _mapping(node: Node | None) -> Mapping[str, Node]:
    return node.value if node is not None and isinstance(node.value, dict) else {}
