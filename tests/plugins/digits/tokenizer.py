"""A tokenizer of the package: each ASCII character is a token."""

from __future__ import annotations

from collections.abc import Sequence

from mplug2.data.text import Tokenizer


class Characters(Tokenizer):
    """Tokens 0 to 4 are special; the character with code ``c`` is the token ``5 + c``."""

    fingerprint = "ascii from 5"

    def __init__(self) -> None:
        self.source = "characters"
        self.pad, self.unk, self.cls, self.sep, self.mask = range(5)
        self.vocab_size = 5 + 128

    @classmethod
    def read(cls, source: str) -> Characters:
        """Return the tokenizer; it reads no file."""
        return cls()

    def pieces(self, text: str) -> list[int]:
        """Return the ids of the characters of a text."""
        return [5 + ord(character) if character.isascii() else self.unk for character in text]

    def decode_released(self, ids: Sequence[int]) -> str:
        """Return the text of the characters among ``ids``."""
        return "".join(chr(number - 5) for number in ids if number >= 5)
