"""YAML to a tree of nodes, each with its location.

The YAML of a spec is a small part of YAML 1.2: mappings, lists and scalars, in one document, without anchors,
aliases and tags (`extends` does their work, and nothing can be made to grow), and of bounded size and depth.
Plain scalars are null, true, false, integers and floats (`1e-5` is one); everything else is a string.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from registry.errors import Location, Problem, SpecError

LARGEST = 256 * 1024  # characters; the largest spec of the project has about 5,000
DEEPEST = 32
INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][-+]?[0-9]{1,3})?")
WORDS = {"": None, "~": None, "true": True, "false": False, "null": None}


@dataclass(frozen=True)
class Source:
    """A text and the name that messages give it; `inline`, a command-line override, is a place by itself."""

    file: str
    text: str
    inline: str = ""
    lines: list[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # the line breaks of YAML 1.2, as the scanner counts them
        object.__setattr__(self, "lines", re.split(r"\r\n|[\n\r\x85\u2028\u2029]", self.text))

    def place(self, line: int, column: int) -> Location:
        """Return the place at a line and a column counted from 0."""
        if self.inline:
            return Location(self.file, 0, 0, self.inline)
        return Location(self.file, line + 1, column + 1, self.lines[line] if line < len(self.lines) else "")


@dataclass(frozen=True, slots=True)
class Edit:
    """A part of a string that is replaced by another; the offsets count characters of the old string."""

    start: int
    end: int
    new: str


@dataclass
class Node:
    """A value (mapping of nodes, list of nodes, or scalar), its place, and the place of its key.

    `deleted`: where keys of a mapping were deleted that a file below had set.
    """

    value: Any
    place: Location
    key: Location | None = None
    source: Source | None = field(default=None, repr=False, compare=False)
    span: tuple[int, int] = field(default=(0, 0), repr=False, compare=False)
    deleted: dict[str, Location] = field(default_factory=dict, repr=False, compare=False)
    # What the source has where old words of a string were replaced, and the replacements.
    written: str | None = field(default=None, repr=False, compare=False)
    edits: tuple[Edit, ...] = field(default=(), repr=False, compare=False)

    def plain(self) -> Any:
        """Return the value as plain mappings, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def at(self, offset: int) -> Location:
        """Return the place of the character at `offset` of a string, through quotes, escapes and folds."""
        if self.source is None or self.source.inline or not isinstance(self.value, str):
            return self.place
        text, (index, end) = self.source.text, self.span
        written = self.value if self.written is None else self.written
        offset = self._written_offset(offset)
        if text[index : index + 1] in ("|", ">"):
            index = text.find("\n", index) + 1
        index_of_letter = index
        for letter in written[: offset + 1]:
            if letter.isspace():  # a fold or an indent: any white space, and no more than there is
                continue
            index_of_letter = text.find(letter, index, end)
            if index_of_letter < 0:  # written as an escape: the last place that is known
                break
            index = index_of_letter + 1
        index_of_letter = max(index_of_letter, self.span[0])
        start = max(text.rfind("\n", 0, index_of_letter), text.rfind("\r", 0, index_of_letter)) + 1
        # Counted from the beginning of the value: from that of the file, long specs would take seconds.
        breaks = len(re.split(r"\r\n|[\n\r]", text[self.span[0] : index_of_letter])) - 1
        return self.source.place(self.place.line - 1 + breaks, index_of_letter - start)

    def edited(self, edits: Sequence[Edit]) -> Node:
        """Return the node with parts of its string replaced; `at` still returns places of the source."""
        if not edits:
            return self
        written = self.value if self.written is None else self.written
        combined = list(self.edits)
        for edit in edits:
            start, last = self._written_offset(edit.start), self._written_offset(edit.end - 1)
            combined.append(Edit(start, last + 1, edit.new))
        combined.sort(key=lambda edit: edit.start)
        value = written
        for edit in reversed(combined):
            value = value[: edit.start] + edit.new + value[edit.end :]
        return replace(self, value=value, written=written, edits=tuple(combined))

    def _written_offset(self, offset: int) -> int:
        """Return the offset into the source's string of an offset into the edited one."""
        shift = 0
        for edit in self.edits:
            start = edit.start + shift
            if offset < start:
                break
            if offset < start + len(edit.new):
                return edit.start
            shift += len(edit.new) - (edit.end - edit.start)
        return offset - shift


def scalar(text: str) -> Any:
    """Return the value of a plain scalar: None, truth value, integer, finite float, or the text itself."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    if INTEGER.fullmatch(text):
        return int(text)
    if FLOAT.fullmatch(text) and abs(number := float(text)) != float("inf"):
        return number
    return text


def parse(source: Source) -> Node:
    """Return the tree of a YAML text; raise `SpecError` with all duplicate keys, or what cannot be read."""
    if len(source.text) > LARGEST:
        message = f"a spec must have at most {LARGEST} characters, but this one has {len(source.text)}"
        raise SpecError.at(source.place(0, 0), message)
    builder = _Builder(source)
    try:
        root = builder.document(YAML(typ="safe", pure=True).parse(source.text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = source.place(mark.line, mark.column) if mark else source.place(0, 0)
        raise SpecError.at(place, f"not valid YAML: {_sentence(error)}", _mend(place)) from None
    except YAMLError as error:
        place = source.place(*_control_character(source.text))
        raise SpecError.at(place, f"not valid YAML: {str(error).splitlines()[0]}") from None
    if builder.problems:
        raise SpecError(builder.problems)
    return root


def _sentence(error: MarkedYAMLError) -> str:
    """Return what the YAML scanner found, with the place where it began to look, in one line."""
    since = error.context_mark
    begun = (
        f" ({error.context}, which begins at {since.line + 1}:{since.column + 1})"
        if since and error.context
        else ""
    )
    return f"{error.problem}{begun}"


def _mend(place: Location) -> str:
    """Return the hint for the usual slips of YAML."""
    here = place.text[place.column - 1 :].strip() if place.line else ""
    if "\t" in place.text[: place.column]:
        return "indent with spaces: YAML allows no tabs there"
    if here[:1] in ("@", "*", "%", "`"):
        return f"quote it: '{here.split(',')[0].split('}')[0]}'"
    if here.startswith(":"):
        return "quote a value that holds ': ', and check the indentation"
    return ""


def _control_character(text: str) -> tuple[int, int]:
    """Return line and column, from 0, of the first character that YAML refuses."""
    match = re.search(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text)
    before = text[: match.start()] if match else ""
    return before.count("\n"), len(before) - before.rfind("\n") - 1


class _Builder:
    """Builds nodes from the parser's events and collects the problems on the way."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []

    def document(self, events: Iterator[Event]) -> Node:
        root: Node | None = None
        for event in events:
            if isinstance(event, DocumentStartEvent) and root is not None:
                raise self.wrong(event, "a spec must be one YAML document, but a second one begins here")
            if isinstance(event, AliasEvent | ScalarEvent | SequenceStartEvent | MappingStartEvent):
                root = self.node(event, events, 0)
        return root if root is not None else Node(None, self.source.place(0, 0), source=self.source)

    def place(self, event: Event) -> Location:
        return self.source.place(event.start_mark.line, event.start_mark.column)

    def wrong(self, event: Event, message: str, hint: str = "") -> SpecError:
        return SpecError.at(self.place(event), message, hint)

    def refuse(self, event: Any) -> None:
        """Raise `SpecError` at what specs do not have: aliases, anchors and tags."""
        if isinstance(event, AliasEvent):
            name = f"*{event.anchor}"
            hint = f"a pattern must be quoted: '{name}'"
            raise self.wrong(event, f"'{name}' is a YAML alias, which specs do not have", hint)
        if event.anchor is not None:
            hint = "share by `extends: FILE`, or by calling the same module again"
            raise self.wrong(event, f"'&{event.anchor}' is a YAML anchor, which specs do not have", hint)
        if event.tag not in (None, "!"):
            raise self.wrong(event, f"'{event.tag}' is a YAML tag, which specs do not have")

    def encodable(self, event: ScalarEvent) -> None:
        """Raise `SpecError` at an escape such as "\\ud800", which is half a character."""
        if any("\ud800" <= letter <= "\udfff" for letter in event.value):
            raise self.wrong(event, f"a text must be complete characters, but {event.value!r} has half a one")

    def node(self, event: Event, events: Iterator[Event], depth: int) -> Node:
        self.refuse(event)
        if depth > DEEPEST:
            raise self.wrong(event, f"a spec must be nested at most {DEEPEST} deep, but continues here")
        if isinstance(event, MappingStartEvent):
            return Node(self.mapping(events, depth), self.place(event), source=self.source)
        if isinstance(event, SequenceStartEvent):
            items = []
            while not isinstance(item := next(events), SequenceEndEvent):
                items.append(self.node(item, events, depth + 1))
            return Node(items, self.place(event), source=self.source)
        assert isinstance(event, ScalarEvent)
        self.encodable(event)
        value = scalar(event.value) if event.implicit[0] else event.value
        span = (event.start_mark.index, event.end_mark.index)
        return Node(value, self.place(event), source=self.source, span=span)

    def mapping(self, events: Iterator[Event], depth: int) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            self.refuse(event)
            if not isinstance(event, ScalarEvent):
                raise self.wrong(event, "a key must be one word, but is a mapping or a list")
            self.encodable(event)
            name, place = event.value, self.place(event)
            node = self.node(next(events), events, depth + 1)
            node.key = place
            if name in entries:
                first = entries[name].key or place
                message = f"duplicate key '{name}' (first at {first.seen_from(place)})"
                hint = f"keep one of the two lines `{name}: ...`"
                self.problems.append(Problem(place, message, hint))
            else:
                entries[name] = node
        return entries
