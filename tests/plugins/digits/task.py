"""A task without media: how many of the characters of a text are digits?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from digits.kind_values import Bytes
from registry import UserError


class CountDigits:
    """Texts of up to ``longest`` bytes, with the number of their digits as class; one text on each line."""

    outputs = {"text": "bytes B L", "label": "labels B"}
    query_input = "text"

    def __init__(self, longest: int = 8) -> None:
        self.longest = longest
        self.classes = [str(number) for number in range(longest + 1)]

    def read(self, path: Path) -> list[str]:
        """Return the lines of a file."""
        lines = path.read_text(encoding="utf-8").splitlines()
        return [self._checked(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]

    def question(self, text: str) -> str:
        """Return the text of a user."""
        return self._checked(text, "text")

    def _checked(self, text: str, location: str) -> str:
        size = len(text.encode())
        if not 0 < size <= self.longest:
            raise UserError(
                f"{location}: a text must have 1 to {self.longest} bytes (got {size}). Set data.longest"
            )
        return text

    def encode(self, items: Sequence[str], samples: Sequence[Any]) -> dict[str, Any]:
        """Return the bytes and the labels of a batch."""
        return {"text": Bytes.of(items), "label": torch.tensor([count_digits(text) for text in items])}

    def record(self, item: str, sample: Any = None) -> dict[str, Any]:
        """Return the fields of a row: text, correct answer, and the names of the classes."""
        return {"text": item, "answers": [str(count_digits(item))], "classes": self.classes}

    def counts(self, items: Sequence[str]) -> dict[str, int]:
        """Return how many texts have each number of digits, for `mplug2 data check`."""
        numbers = Counter(count_digits(text) for text in items)
        return {f"{number} digits:": numbers[number] for number in sorted(numbers)}


def count_digits(text: str) -> int:
    """Return the number of ASCII digits."""
    return sum(character in "0123456789" for character in text)
