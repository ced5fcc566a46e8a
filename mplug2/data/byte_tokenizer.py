"""A tokenizer without a vocabulary file: the bytes of UTF-8 are the tokens."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from mplug2.data.text import Tokenizer
from registry.errors import UserError

BYTES = "bytes"  # the kind of this tokenizer in a spec
# The first numbers are those of BERT's special tokens, the last of which is 103.
_FIRST_BYTE = 104


class ByteTokenizer(Tokenizer):
    """Bytes of UTF-8 as tokens: no word is unknown, and bits per byte of texts can be compared.

    Special tokens have the numbers of BERT's, and byte ``b`` is the token ``104 + b``. A special token such
    as ``[SEP]`` in a text is one token, as in `Tokenizer`. A text that was decoded with ``surrogateescape``
    keeps bytes that are not UTF-8.
    """

    def __init__(self) -> None:
        special = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
        super().__init__(special, lower=False, source=BYTES)
        self._special = special
        # The base class counted the special tokens alone.
        self.vocab_size = _FIRST_BYTE + 256
        self._begins_word = np.ones(self.vocab_size, dtype=bool)
        # In a group, so that `split` returns the special tokens, too.
        escaped = [re.escape(token) for token in special]
        self._split = re.compile(f"({'|'.join(escaped)})")

    @classmethod
    def read(cls, source: str) -> ByteTokenizer:
        """Return the tokenizer; UserError if a file is named, since it reads none."""
        if source:
            raise UserError(
                f"the tokenizer {BYTES} reads no file (got '{BYTES}:{source}'). Write {BYTES}"
            )
        return cls()

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of the name of this numbering."""
        return hashlib.sha256(f"{BYTES} from {_FIRST_BYTE}".encode()).hexdigest()

    def pieces(self, text: str) -> list[int]:
        """Return the ids of the bytes of a text, without [CLS]."""
        ids = []
        for part in self._split.split(text):
            if part in self._special:
                ids.append(self._special[part])
            else:
                content = part.encode("utf-8", "surrogateescape")
                ids += [_FIRST_BYTE + byte for byte in content]
        return ids

    def decode_released(self, ids: Sequence[int]) -> str:
        """Return the text of the bytes among ``ids``; what is not UTF-8 becomes U+FFFD."""
        content = bytes(int(i) - _FIRST_BYTE for i in ids if int(i) >= _FIRST_BYTE)
        return content.decode("utf-8", "replace")

    def count_unknown(self, text: str) -> tuple[int, list[str]]:
        """Return the number of words of a text, and an empty list: no byte is unknown."""
        return len(text.split()), []

    def tokens(self, ids: Sequence[int]) -> list[str | None]:
        """Return the names of special tokens, and of bytes their number as ``<0x41>``."""
        special_names = {number: token for token, number in self._special.items()}
        names: list[str | None] = []
        for number in map(int, ids):
            if number >= _FIRST_BYTE:
                names.append(f"<0x{number - _FIRST_BYTE:02X}>")
            else:
                names.append(special_names.get(number))
        return names
