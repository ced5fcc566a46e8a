"""YAML text to a tree by the parser of ruamel.yaml, with the messages for what specs do not have."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
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
from registry.yaml.tree import DEEPEST, Node, Source, scalar

_ESCAPE = re.compile(r"\\U([0-9a-fA-F]{8})")
_VERSION = re.compile(r"^%YAML[ \t]+(\S+)", re.MULTILINE)


def read_yaml(source: Source) -> Node:
    """Return the tree of a YAML text; raise `SpecError` with all duplicate keys, or what cannot be read."""
    builder = _Builder(source)
    try:
        root = builder.document(YAML(typ="safe", pure=True).parse(source.text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = source.place(mark.line, mark.column) if mark else source.place(0, 0)
        message = f"not valid YAML: {_sentence(error)}"
        raise SpecError.at(place, message, _mend(place)) from None
    # An error without a mark is that of a character which YAML refuses.
    except YAMLError as error:
        place = source.place(*_control_character(source.text))
        message = f"not valid YAML: {str(error).splitlines()[0]}"
        raise SpecError.at(place, message) from None
    # The parser does not check what it converts.
    except (ValueError, AssertionError, OverflowError):
        place, problem = _unconvertible(source, builder.last)
        raise SpecError.at(place, f"not valid YAML: {problem}") from None
    if builder.problems:
        raise SpecError(builder.problems)
    return root


def _sentence(error: MarkedYAMLError) -> str:
    """Return what the YAML scanner found, with the place where it began to look, in one line."""
    since = error.context_mark
    if not since or not error.context:
        return str(error.problem)
    # Marks count from 0, messages from 1.
    begin = f"{since.line + 1}:{since.column + 1}"
    return f"{error.problem} ({error.context}, which begins at {begin})"


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


def _unconvertible(source: Source, last: Location) -> tuple[Location, str]:
    """Return where the parser failed to convert a text, and why; ``last`` is the last thing that it read."""
    for match in _ESCAPE.finditer(source.text):
        if int(match[1], 16) > sys.maxunicode:
            return _place_of(source, match.start()), f"{match[0]} is not a character"
    version = _VERSION.search(source.text)
    if version is not None and version[1] not in ("1.1", "1.2"):
        place = _place_of(source, version.start(1))
        name = f"YAML {version[1][:20]}"
        return (
            place,
            f"{name} is not supported: write `%YAML 1.2`, or leave the line out",
        )
    return last, "what follows cannot be read"


def _place_of(source: Source, index: int) -> Location:
    before = source.text[:index]
    return source.place(before.count("\n"), len(before) - before.rfind("\n") - 1)


def _control_character(text: str) -> tuple[int, int]:
    """Return line and column, from 0, of the first character that YAML refuses."""
    match = re.search(
        r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text
    )
    before = text[: match.start()] if match else ""
    return before.count("\n"), len(before) - before.rfind("\n") - 1


class _Builder:
    """Builds nodes from the parser's events and collects the problems on the way."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.last = source.place(0, 0)

    def document(self, events: Iterator[Event]) -> Node:
        root: Node | None = None
        for event in events:
            if isinstance(event, DocumentStartEvent) and root is not None:
                message = (
                    "a spec must be one YAML document, but a second one begins here"
                )
                raise self.wrong(event, message)
            # The other events begin and end the stream.
            if isinstance(
                event, AliasEvent | ScalarEvent | SequenceStartEvent | MappingStartEvent
            ):
                root = self.node(event, events, 0)
        if root is None:  # an empty file, or comments alone
            return Node(None, self.source.place(0, 0), source=self.source)
        return root

    def place(self, event: Event) -> Location:
        # Kept for errors of the parser that have no place.
        self.last = self.source.place(event.start_mark.line, event.start_mark.column)
        return self.last

    def wrong(self, event: Event, message: str, hint: str = "") -> SpecError:
        return SpecError.at(self.place(event), message, hint)

    def refuse(self, event: Any) -> None:
        """Raise `SpecError` at what specs do not have: aliases, anchors and tags."""
        if isinstance(event, AliasEvent):
            name = f"*{event.anchor}"
            message = f"'{name}' is a YAML alias, which specs do not have"
            # `*bias` without quotes is read as an alias.
            raise self.wrong(event, message, f"a pattern must be quoted: '{name}'")
        if event.anchor is not None:
            message = f"'&{event.anchor}' is a YAML anchor, which specs do not have"
            hint = "share by `extends: FILE`, or by calling the same module again"
            raise self.wrong(event, message, hint)
        if event.tag not in (None, "!"):
            message = f"'{event.tag}' is a YAML tag, which specs do not have"
            raise self.wrong(event, message)

    def encodable(self, event: ScalarEvent) -> None:
        """Raise `SpecError` at an escape such as "\\ud800", which is half a character."""
        if any("\ud800" <= letter <= "\udfff" for letter in event.value):
            text = f"{event.value!r}"
            message = f"a text must be complete characters, but {text} has half a one"
            raise self.wrong(event, message)

    def node(self, event: Event, events: Iterator[Event], depth: int) -> Node:
        self.refuse(event)
        if depth > DEEPEST:
            message = (
                f"a spec must be nested at most {DEEPEST} deep, but continues here"
            )
            raise self.wrong(event, message)
        if isinstance(event, MappingStartEvent):
            entries = self.mapping(events, depth)
            return Node(entries, self.place(event), source=self.source)
        if isinstance(event, SequenceStartEvent):
            items = []
            while not isinstance(item := next(events), SequenceEndEvent):
                items.append(self.node(item, events, depth + 1))
            return Node(items, self.place(event), source=self.source)
        assert isinstance(event, ScalarEvent)
        self.encodable(event)
        # Quoted text stays text, also '1'.
        value = scalar(event.value) if event.implicit[0] else event.value
        span = (event.start_mark.index, event.end_mark.index)
        return Node(value, self.place(event), source=self.source, span=span)

    def mapping(self, events: Iterator[Event], depth: int) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            self.refuse(event)
            if not isinstance(event, ScalarEvent):
                message = "a key must be one word, but is a mapping or a list"
                raise self.wrong(event, message)
            self.encodable(event)
            name, place = event.value, self.place(event)
            node = self.node(next(events), events, depth + 1)
            node.key = place
            if name in entries:
                first = entries[name].key or place
                message = f"duplicate key '{name}' (first at {first.seen_from(place)})"
                hint = f"keep one of the two lines `{name}: ...`"
                # Collected, unlike other errors: what follows a duplicate key can still be read.
                self.problems.append(Problem(place, message, hint))
            else:
                entries[name] = node
        return entries
