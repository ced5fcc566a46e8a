"""YAML to a tree of nodes, each with its location.

The YAML of a spec is a small part of YAML 1.2: mappings, lists and scalars, in one document, without anchors,
aliases and tags (`extends` does their work, and nothing can be made to grow), and of bounded size and depth.
Plain scalars are null, true, false, integers and floats (`1e-5` is one); everything else is a string.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from registry.errors import Location, require

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
        require(self.text, str, "the text of a spec")
        # The line breaks of YAML 1.2, as the scanner counts them.
        lines = re.split(r"\r\n|[\n\r\x85\u2028\u2029]", self.text)
        # A frozen dataclass cannot assign to its own field.
        object.__setattr__(self, "lines", lines)

    def place(self, line: int, column: int) -> Location:
        """Return the place at a line and a column counted from 0."""
        if self.inline:
            return Location(self.file, 0, 0, self.inline)
        # The end of a text may be a line after the last one.
        text = self.lines[line] if line < len(self.lines) else ""
        return Location(self.file, line + 1, column + 1, text)


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
    deleted: dict[str, Location] = field(
        default_factory=dict, repr=False, compare=False
    )
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
        # A block scalar begins on the line after its mark.
        if text[index : index + 1] in ("|", ">"):
            index = text.find("\n", index) + 1
        index_of_letter = index
        for letter in written[: offset + 1]:
            # A fold or an indent: any white space, and no more than there is.
            if letter.isspace():
                continue
            index_of_letter = text.find(letter, index, end)
            # Written as an escape: the last place that was found.
            if index_of_letter < 0:
                break
            index = index_of_letter + 1
        index_of_letter = max(index_of_letter, self.span[0])
        last_break = max(
            text.rfind("\n", 0, index_of_letter), text.rfind("\r", 0, index_of_letter)
        )
        start = last_break + 1
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
            start = self._written_offset(edit.start)
            # By the last character: the next one may belong to another edit.
            last = self._written_offset(edit.end - 1)
            combined.append(Edit(start, last + 1, edit.new))
        combined.sort(key=lambda edit: edit.start)
        # From the end, so that the offsets before an edit stay right.
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
