"""Texts alone, to be modelled: words to be filled in, or the next token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mplug2.data.batch import Sample
from mplug2.data.tasks.text_table import TableText, TextFieldsTask
from mplug2.data.text import Tokenizer
from registry.errors import UserError


class PlainTextTask(TextFieldsTask[str]):
    """Texts without a target, for language modelling.

    Of the source `text_file` a text is a window of a plain file, in the field ``text``. Of a ``path`` it is a
    row of a table, as in `text_class`: ``template`` may join other fields. A text has at most ``text_tokens``
    tokens; what exceeds them is cut and does not count in ``num_bytes``, which the metric `bits_per_byte`
    divides by.
    """

    outputs = {"text": "text B L"}

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: str = "[CLS] {text} [SEP]",
        text_tokens: int = 128,
        columns: list[str] | None = None,
    ) -> None:
        super().__init__(tokenizer, template, text_tokens, columns)

    def window(self, text: str) -> TableText[str]:
        """Return a window of a plain text file as an item."""
        if len(self.template.fields) != 1:
            raise UserError(
                "a window of a file is one field, but data.template joins "
                f"{', '.join(self.template.fields)}. Use a template with one field"
            )
        return TableText({self.template.fields[0]: text}, None)

    def record(self, item: TableText[str], sample: Sample | None = None) -> dict[str, Any]:
        """Return the fields of a text, and the bytes of them that its tokens hold."""
        return super().record(item, sample) | {"num_bytes": self.template.num_bytes(item.fields)}

    def counts(self, items: Sequence[TableText[str]]) -> dict[str, int]:
        """Return nothing: texts have no classes."""
        return {}
