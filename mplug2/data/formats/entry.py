"""One entry of a public file, asked for its fields by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mplug2.data.rows import media_name, shown
from registry.errors import UserError

Row = dict[str, Any]  # one line of an output file


@dataclass(frozen=True)
class Entry:
    """An object with its location; a missing field raises UserError.

    A field may go by several names: the first that is there counts.
    """

    values: dict[str, Any]
    where: str

    @classmethod
    def of(cls, value: Any, where: str) -> Entry:
        """Return the entry of a JSON value, which must be an object."""
        if not isinstance(value, dict):
            raise UserError(
                f"{where}: an entry must be a JSON object, but is {shown(value)}"
            )
        return cls(value, where)

    def has(self, *names: str) -> bool:
        """Whether one of the fields is there."""
        return any(name in self.values for name in names)

    def get(self, *names: str) -> Any:
        """Return a field unchanged."""
        for name in names:
            if name in self.values:
                return self.values[name]
        there = ", ".join(map(shown, list(self.values)[:8])) or "nothing"
        raise UserError(
            f"{self.where}: there must be {' or '.join(map(repr, names))}, but there is {there}"
        )

    def text(self, *names: str) -> str:
        """Return a text, its white space squeezed; numbers are texts, too."""
        value = self.get(*names)
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise self.wrong(names, "a text", value)
        return " ".join(str(value).split())

    def whole(self, *names: str) -> int:
        """Return an integer, which may be written as text."""
        value = self.get(*names)
        try:
            if isinstance(value, str | int) and not isinstance(value, bool):
                return int(value)
        except ValueError:
            pass
        raise self.wrong(names, "an integer", value)

    def id(self, *names: str) -> int | str:
        """Return an id unchanged: an integer or a text."""
        value = self.get(*names)
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self.wrong(names, "a number or a text", value)
        return value

    def items(self, *names: str) -> list[Any]:
        """Return a list."""
        value = self.get(*names)
        if not isinstance(value, list):
            raise self.wrong(names, "a list", value)
        return value

    def entries(self, *names: str) -> Iterator[Entry]:
        """Yield the objects of a list."""
        for number, value in enumerate(self.items(*names), 1):
            yield Entry.of(value, f"{self.where}: {names[0]} {number}")

    def texts(self, *names: str) -> list[str]:
        """Return a text, or a list of them, as a list."""
        value = self.get(*names)
        texts = [value] if isinstance(value, str) else value
        is_list = isinstance(texts, list) and bool(texts)
        if not is_list or not all(isinstance(text, str) for text in texts):
            raise self.wrong(names, "a text or a list of texts", value)
        return [" ".join(text.split()) for text in texts]

    def box(self, *names: str) -> list[float]:
        """Return a box [x, y, width, height] as [left, top, right, bottom]; it must have an area."""
        value = self.items(*names)
        # True and false are integers in Python; the bound refuses NaN and infinity, too.
        is_box = len(value) == 4
        for number in value:
            is_number = isinstance(number, int | float) and not isinstance(number, bool)
            is_box = is_box and is_number and abs(number) < 1e6
        if not is_box or min(value[2:]) <= 0:
            raise self.wrong(names, "[x, y, width, height] with an area", value)
        x, y, width, height = value
        return [round(side, 4) for side in (x, y, x + width, y + height)]

    def media(self, *names: str) -> str:
        """Return the name of a video or image: a path that stays inside the media folder."""
        return media_name(self.text(*names), self.where)

    def one_of(self, labels: dict[str, str], *names: str) -> str:
        """Return what a label is called here."""
        value = self.text(*names)
        if value.lower() not in labels:
            raise self.wrong(names, f"one of {', '.join(labels)}", value)
        return labels[value.lower()]

    def wrong(self, names: tuple[str, ...], expected: str, value: Any) -> UserError:
        """Return the error of a field that is not what it must be."""
        # The message has the name that the file uses, of the several that a field may have.
        name = next((name for name in names if name in self.values), names[0])
        return UserError(
            f"{self.where}: '{name}' must be {expected}, but is {shown(value)}"
        )
