"""CLIP's tokenizer: byte-level BPE on cleaned text (openai/CLIP, ``clip/simple_tokenizer.py``)."""

from __future__ import annotations

import gzip
import hashlib
import html
import itertools
import re
import zlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import regex

from mplug2.data.text import Tokenizer
from registry.errors import UserError

if TYPE_CHECKING:
    from modules.streams import Text

START, END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"
_NUM_MERGES = 48894  # OpenAI's file holds more, which its tokenizer does not use
_MAX_BYTES = 64 * 2**20  # of a merges file; OpenAI's has 3.1 MB
_MAX_CACHED = 2**16  # words
_WORDS = regex.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    regex.IGNORECASE,
)
# Printable ASCII and white space, without `&`: ftfy changes no such text.
_PLAIN = re.compile(r"[\t\n\r -%'-~]*")


class ClipTokenizer(Tokenizer):
    """``[start] x [end]``, as the original: bytes are merged in a text that is `cleaned`.

    A longer text is cut, and its last token is the end, whose id is the highest. ``merges``: pairs of symbols
    in their order of precedence. Texts beyond plain ASCII need the package ftfy (`pip install mplug2[clip]`).
    """

    def __init__(
        self, merges: Sequence[tuple[str, str]], *, source: str = "merges"
    ) -> None:
        self.source, self.lower = source, True
        self._printable = _printable_bytes()
        symbols = list(self._printable.values())
        # The order of the released vocabulary: bytes, bytes that end a word, merges, specials.
        tokens = [*symbols, *(symbol + _WORD_END for symbol in symbols)]
        tokens += [left + right for left, right in merges]
        tokens += [START, END]
        self._tokens = tokens
        self._ids = {token: number for number, token in enumerate(tokens)}
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._cache: dict[str, list[int]] = {
            START: [self._ids[START]],
            END: [self._ids[END]],
        }
        self.vocab_size = len(tokens)
        self.cls, self.sep = self._ids[START], self._ids[END]
        # There is no token for unknown text, and none for hidden words. The original pads with 0.
        self.pad, self.unk, self.mask = 0, self.sep, self.sep
        endings = (_WORD_END, START, END)
        self._ends_word = np.array([token.endswith(endings) for token in tokens])
        # The base class needs it, but `pad_rows` replaces what it makes of it.
        self._begins_word = np.ones(self.vocab_size, dtype=bool)

    @classmethod
    def read(cls, where: str) -> ClipTokenizer:
        """Read merges: OpenAI's ``bpe_simple_vocab_16e6.txt.gz``, or a ``merges.txt`` or its folder.

        UserError if the file cannot be read, or has no merges.
        """
        path = Path(where)
        file = path / "merges.txt" if path.is_dir() else path
        if not where or not file.is_file():
            raise UserError(
                f"the merges of CLIP's tokenizer do not exist (got 'clip:{where}'). Write clip:FILE with the "
                "path of bpe_simple_vocab_16e6.txt.gz (github.com/openai/CLIP, folder clip) or a merges.txt"
            )
        return cls(_read_merges(file), source=f"clip:{where}")

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of all tokens in the order of their ids."""
        content = "\n".join(["clip", *self._tokens])
        return hashlib.sha256(content.encode()).hexdigest()

    def encode(self, text: str, max_tokens: int | None = None) -> list[int]:
        """Return the ids of ``"[start] text [end]"``; a longer text is cut to ``max_tokens`` with the end."""
        ids = [self.cls, *self.pieces(text), self.sep]
        if max_tokens is not None and len(ids) > max_tokens:
            ids = [*ids[: max_tokens - 1], self.sep]
        return ids

    def encode_with_sep(self, texts: Iterable[str], max_tokens: int) -> Text:
        """Return the texts as `Text`; each has its end already."""
        return self(texts, max_tokens)

    def pad_rows(
        self,
        rows: Sequence[Sequence[int]],
        segments: Sequence[Sequence[int]] | None = None,
    ) -> Text:
        """Return rows of ids as `Text`; a token begins a word if the one before it ends one."""
        import torch

        text = super().pad_rows(rows, segments)
        # The first token begins a word; every other one if the token on its left ends one.
        begins_word = torch.ones_like(text.mask)
        begins_word[:, 1:] = torch.from_numpy(self._ends_word)[text.ids[:, :-1]]
        return text._replace(word_start=begins_word & text.mask)

    def pieces(self, text: str) -> list[int]:
        """Return the ids of a text alone. A special token in it, in any case, is one token, as released."""
        ids: list[int] = []
        for word in _WORDS.findall(cleaned(text)):
            ids += self._word_ids(word)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of generated ids up to the first end, without specials."""
        numbers = [int(number) for number in ids]
        if self.sep in numbers:
            numbers = numbers[: numbers.index(self.sep)]
        words = [number for number in numbers if number != self.cls]
        return self.decode_released(words).strip()

    def decode_released(self, ids: Sequence[int]) -> str:
        """Return the text as the original does: a blank after each word, specials unchanged."""
        # Bytes of one character may be in two tokens, so symbols are joined before they are decoded.
        joined = "".join(self._tokens[int(number)] for number in ids)
        numbers = {symbol: byte for byte, symbol in self._printable.items()}
        content = bytes(numbers[symbol] for symbol in joined)
        return content.decode("utf-8", errors="replace").replace(_WORD_END, " ")

    def tokens(self, ids: Sequence[int]) -> list[str | None]:
        """Return the symbols of ``ids``, special tokens included."""
        return [self._tokens[int(number)] for number in ids]

    def _word_ids(self, word: str) -> list[int]:
        """Return the ids of a word, by merging the pair of the lowest rank until there is none."""
        cached_ids = self._cache.get(word)
        if cached_ids is not None:
            return cached_ids
        symbols = [self._printable[byte] for byte in word.encode("utf-8")]
        symbols[-1] += _WORD_END
        last_rank = len(self._ranks)
        while len(symbols) > 1:
            pairs = itertools.pairwise(symbols)
            best = min(pairs, key=lambda pair: self._ranks.get(pair, last_rank))
            if best not in self._ranks:
                break
            symbols = _merged(symbols, best)
        ids = [self._ids[symbol] for symbol in symbols]
        # Merging is slow, and texts repeat their words; the bound keeps the memory of a long run constant.
        if len(self._cache) < _MAX_CACHED:
            self._cache[word] = ids
        return ids


def cleaned(text: str) -> str:
    """Return a text as CLIP reads it: corrected by ftfy, unescaped twice, squeezed, in lower case.

    UserError if a text needs ftfy, which is not installed.
    """
    if not _PLAIN.fullmatch(text):
        try:
            import ftfy
        except ImportError:
            raise UserError(
                "CLIP's tokenizer needs the package ftfy for texts beyond plain ASCII "
                f"(got {text[:60]!r}). Run `pip install mplug2[clip]`"
            ) from None
        text = ftfy.fix_text(text)
    # Twice, as released: captions from the web are often escaped twice (`&amp;lt;`).
    text = html.unescape(html.unescape(text)).strip()
    return regex.sub(r"\s+", " ", text).strip().lower()


def _merged(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    """Return symbols with every occurrence of a pair merged, from left to right."""
    result: list[str] = []
    position = 0
    while position < len(symbols):
        if tuple(symbols[position : position + 2]) == pair:
            result.append(pair[0] + pair[1])
            position += 2
        else:
            result.append(symbols[position])
            position += 1
    return result


def _printable_bytes() -> dict[int, str]:
    """Return a printable character for each byte: itself, or one above 255 (as GPT-2)."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    symbols = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        if byte not in symbols:
            symbols[byte] = chr(256 + len(symbols) - len(printable))
    return symbols


def _read_merges(path: Path) -> list[tuple[str, str]]:
    """Return the merges of a file, plain or gzipped, after its line of the version."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        lines = content.decode("utf-8").split("\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(
            f"the merges {path} cannot be read as text ({error}). Give a merges.txt"
        ) from None
    if len(content) > _MAX_BYTES or "#version" not in lines[0]:
        raise UserError(
            f"{path}: a file of merges must begin with a line `#version` and have at most {_MAX_BYTES} bytes "
            f"(got {lines[0][:60]!r}). Give bpe_simple_vocab_16e6.txt.gz or a merges.txt"
        )
    merges = []
    for number, line in enumerate(lines[1 : 1 + _NUM_MERGES], start=2):
        parts = line.split()
        # After the end of the last line there is no merge.
        if not parts and number == len(lines):
            break
        if len(parts) != 2:
            raise UserError(
                f"{path}:{number}: a merge must be two symbols (got {line[:60]!r})"
            )
        merges.append((parts[0], parts[1]))
    return merges
