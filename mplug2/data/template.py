"""Several texts in one row of tokens, by a template such as `[CLS] {sentence1} [SEP] {sentence2} [SEP]`."""

from __future__ import annotations

import string
from collections.abc import Mapping

from mplug2.data.arguments import ArgumentError
from mplug2.data.text import SPECIAL_TOKENS, Tokenizer


class TextTemplate:
    """A template whose fields are cut, the longest one first, until the row has at most ``max_tokens``.

    A field is the name of a column, such as ``{#1 String}``; it has no colon, exclamation mark or brace.
    The text of the template ([CLS], [SEP], a prompt) is never cut. Each part is tokenized on
    its own, so a word must not continue from the template into a field.
    """

    def __init__(self, template: str, tokenizer: Tokenizer, max_tokens: int) -> None:
        """Raise `ArgumentError` for a template without fields, with a token that the vocabulary lacks, or one
        that leaves no token for a field."""
        self.template, self.tokenizer, self.max_tokens = template, tokenizer, max_tokens
        for token in SPECIAL_TOKENS.values():
            # Other tokenizers would split it into brackets and letters.
            if token in template and len(tokenizer.pieces(token)) != 1:
                problem = f"the tokenizer {tokenizer.source} has no token {token} (got {template!r})"
                raise ArgumentError(
                    "template", f"{problem}. Write its special tokens instead"
                )
        try:
            parts = list(string.Formatter().parse(template))
        except ValueError as error:
            raise ArgumentError(
                "template", f"template {template!r} cannot be read: {error}"
            ) from None
        self.parts: list[
            tuple[list[int], str | None]
        ] = []  # ids of the template's text, then a field
        for literal, name, _, _ in parts:
            if name is not None and not name.strip():
                raise ArgumentError(
                    "template", f"a template field must be a name (got {{{name}}})"
                )
            self.parts.append((tokenizer.pieces(literal), name))
        self.fields = tuple(name for _, name in self.parts if name is not None)
        if not self.fields or len(set(self.fields)) != len(self.fields):
            raise ArgumentError(
                "template", f"a template must have fields, each once (got {template!r})"
            )
        self.num_fixed = sum(len(ids) for ids, _ in self.parts)
        if self.num_fixed + len(self.fields) > max_tokens:
            raise ArgumentError(
                "text_tokens",
                f"text_tokens must be at least {self.num_fixed + len(self.fields)}, so that each field "
                f"keeps a token (got {max_tokens})",
            )

    def num_bytes(self, values: Mapping[str, str]) -> int:
        """Return the bytes of the fields that one row holds: fewer than they have if they are cut."""
        total = 0
        for name, ids in self._cut_fields(values).items():
            size = len(values[name].encode("utf-8", "surrogateescape"))
            num_pieces = len(self.tokenizer.pieces(values[name]))
            # A text that is cut counts by the fraction of its tokens that stays.
            if len(ids) < num_pieces:
                size = round(size * len(ids) / num_pieces)
            total += size
        return total

    def encode(self, values: Mapping[str, str]) -> list[int]:
        """Return the ids of one row."""
        return self.encode_segments(values)[0]

    def encode_segments(self, values: Mapping[str, str]) -> tuple[list[int], list[int]]:
        """Return the ids of one row, and for each id its segment: 0 up to the first [SEP] of the template,
        1 after it (BERT's token type ids)."""
        field_ids = self._cut_fields(values)
        row: list[int] = []
        num_first: int | None = None  # The ids of segment 0.
        for literal_ids, name in self.parts:
            if num_first is None and self.tokenizer.sep in literal_ids:
                num_first = len(row) + literal_ids.index(self.tokenizer.sep) + 1
            row += literal_ids
            if name is not None:
                row += field_ids[name]
        if num_first is None:
            num_first = len(row)
        return row, [0] * num_first + [1] * (len(row) - num_first)

    def _cut_fields(self, values: Mapping[str, str]) -> dict[str, list[int]]:
        """Return the ids of each field, cut so that the row fits."""
        field_ids = {name: self.tokenizer.pieces(values[name]) for name in self.fields}
        num_tokens = self.num_fixed + sum(len(ids) for ids in field_ids.values())
        # One token at a time, so that two long fields end up equally long.
        for _ in range(max(num_tokens - self.max_tokens, 0)):
            longest = max(field_ids.values(), key=len)
            longest.pop()
        return field_ids
