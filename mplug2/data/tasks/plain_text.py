"""Texts alone, to be modelled: words to be filled in, or the next token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mplug2.data.arguments import ArgumentError
from mplug2.data.batch import Sample
from mplug2.data.packing import packed_text
from mplug2.data.tasks.text_table import TableText, TextFieldsTask
from mplug2.data.text import Tokenizer
from registry.errors import UserError


class PlainTextTask(TextFieldsTask[str]):
    """Texts without a target, for language modelling.

    Of the source `text_file` a text is a window of a plain file, in the field ``text``. Of a ``path`` it is a
    row of a table, as in `text_class`: ``template`` may join other fields. A text has at most ``text_tokens``
    tokens; what exceeds them is cut and does not count in ``num_bytes``, which the metric `bits_per_byte`
    divides by.

    ``row_tokens``: in training the texts of a micro-batch are packed into rows of up to so many tokens, which
    need less padding. The texts of a row do not see each other, and their positions begin at 0, so the loss
    is the same. 0: each text is a row. Batches count texts.
    """

    outputs = {"text": "text B L"}

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: str = "[CLS] {text} [SEP]",
        text_tokens: int = 128,
        columns: list[str] | None = None,
        row_tokens: int = 0,
        training: bool = False,
    ) -> None:
        if 0 < row_tokens < text_tokens:
            raise ArgumentError(
                "row_tokens",
                f"row_tokens must be 0 or at least text_tokens, {text_tokens} (got {row_tokens})",
            )
        super().__init__(tokenizer, template, text_tokens, columns)
        # In evaluation a row is a text: its losses are measured one by one.
        self.row_tokens = row_tokens if training else 0

    def window(self, text: str) -> TableText[str]:
        """Return a window of a plain text file as an item."""
        if len(self.template.fields) != 1:
            raise UserError(
                "a window of a file is one field, but data.template joins "
                f"{', '.join(self.template.fields)}. Use a template with one field"
            )
        return TableText({self.template.fields[0]: text}, None)

    def record(
        self, item: TableText[str], sample: Sample | None = None
    ) -> dict[str, Any]:
        """Return the fields of a text, and the bytes of them that its tokens hold."""
        return super().record(item, sample) | {
            "num_bytes": self.template.num_bytes(item.fields)
        }

    def encode(
        self, items: Sequence[TableText[str]], samples: Sequence[Sample]
    ) -> dict[str, Any]:
        """Return the texts, one to a row or packed."""
        if not self.row_tokens:
            return super().encode(items, samples)
        return {
            "text": packed_text(self.tokenizer, *self.encoded(items), self.row_tokens)
        }

    def counts(self, items: Sequence[TableText[str]]) -> dict[str, int]:
        """Return nothing: texts have no classes."""
        return {}
