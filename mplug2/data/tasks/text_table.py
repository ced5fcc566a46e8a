"""What tasks of text alone share: tables whose columns a template joins to one text, with a target or not."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from mplug2.data.batch import Sample
from mplug2.data.tables import Row, column_names, read_table
from mplug2.data.template import TextTemplate
from mplug2.data.text import Tokenizer
from registry.errors import UserError

log = logging.getLogger(__name__)

Target = TypeVar("Target", bound=str | float)


@dataclass(frozen=True)
class TableText(Generic[Target]):
    """The fields of one text by name, and its target (the name of a class or a number), None in a test set.

    ``id`` is what the column ``id_column`` holds, None without such a column.
    """

    fields: dict[str, str]
    target: Target | None
    kind: str | None = None
    id: int | str | None = None


class TextFieldsTask(Generic[Target]):
    """Texts of one or several fields, which a template joins.

    ``path`` holds a table of tab-separated columns with a header (``columns`` names those of a file without
    one), or JSON lines. ``template`` joins columns to one text of at most ``text_tokens`` tokens; the longest
    field is cut first. What follows its first [SEP] is segment 1.
    """

    query_input = "text"
    token_limits = {"text": "text_tokens"}

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: str,
        text_tokens: int,
        columns: list[str] | None,
    ) -> None:
        self.tokenizer = tokenizer
        self.template = TextTemplate(template, tokenizer, text_tokens)
        self.columns = columns
        self.num_refused = 0

    def read(self, path: Path) -> list[TableText[Target]]:
        """Return the texts of a file; rows with another number of columns are left out and counted."""
        table = read_table(path, self.columns)
        if table.refused:
            log.warning(
                "%d rows are left out, the first: %s",
                len(table.refused),
                table.refused[0],
            )
        self.num_refused += len(table.refused)
        return [self._item(row) for row in table.rows]

    def _item(self, row: Row) -> TableText[Target]:
        fields = {}
        for name in self.template.fields:
            if not isinstance(row.values.get(name), str):
                raise UserError(
                    f"{row.location}: the template needs the text '{name}' (got the columns "
                    f"{column_names(row.values)}). Set data.template, or data.columns"
                )
            fields[name] = row.values[name]
        return TableText(
            fields, self.row_target(row), row.values.get("type"), self.row_id(row)
        )

    def row_target(self, row: Row) -> Target | None:
        """Return the target of a row: None, unless the task has targets."""
        return None

    def row_id(self, row: Row) -> int | str | None:
        """Return the number of a row: None, so that rows are counted, unless the file numbers them."""
        return None

    def question(self, text: str) -> TableText[Target]:
        """Return a text without a target; the fields of a pair are separated by [SEP]."""
        names = self.template.fields
        parts = [text]
        # Only a pair is separated: a single text may contain [SEP] itself.
        if len(names) > 1:
            parts = [part.strip() for part in text.split("[SEP]")]
        if len(parts) != len(names):
            raise UserError(
                f"a text must have {len(names)} part(s), {' [SEP] '.join(names)} (got {len(parts)}): {text!r}"
            )
        return TableText(dict(zip(names, parts, strict=True)), None)

    def encode(
        self, items: Sequence[TableText[Target]], samples: Sequence[Sample]
    ) -> dict[str, Any]:
        """Return the texts, padded to the longest; with segments if the template joins several fields."""
        return {"text": self.tokenizer.pad_rows(*self.encoded(items))}

    def encoded(
        self, items: Sequence[TableText[Target]]
    ) -> tuple[list[list[int]], list[list[int]] | None]:
        """Return the ids of each text, and their segments if the template joins several fields."""
        rows, segments = [], []
        for item in items:
            row, row_segments = self.template.encode_segments(item.fields)
            rows.append(row)
            segments.append(row_segments)
        # Single texts are in segment 0 alone, which a network need not read.
        has_pairs = len(self.template.fields) > 1
        return rows, segments if has_pairs else None

    def record(
        self, item: TableText[Target], sample: Sample | None = None
    ) -> dict[str, Any]:
        """Return what evaluation and metrics know of a text."""
        record: dict[str, Any] = {} if item.id is None else {"question_id": item.id}
        record |= item.fields
        if item.kind is not None:
            record["type"] = item.kind
        return record

    def num_tokens(self, item: TableText[Target]) -> int:
        """Return the tokens of a text, as it is cut."""
        return len(self.template.encode(item.fields))


class TextTableTask(TextFieldsTask[Target], ABC):
    """Texts with a target each, which a column holds.

    A test set without the column gives rows without targets. ``id_column`` holds the numbers under which
    predictions are submitted; without it rows are counted from 0.
    """

    submission = "table"

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: str,
        text_tokens: int,
        columns: list[str] | None,
        id_column: str | None,
        training: bool,
        target_column: tuple[str, str],
    ) -> None:
        """``target_column``: the column, and the key of the spec that names it."""
        super().__init__(tokenizer, template, text_tokens, columns)
        self.id_column, self.training = id_column, training
        self.target_column, self.target_key = target_column

    @abstractmethod
    def target(self, value: Any, location: str) -> Target:
        """Return the target that a column holds; raise UserError if it is not a target."""

    @abstractmethod
    def target_inputs(self, targets: Sequence[Target]) -> dict[str, Any]:
        """Return the targets of a batch as inputs of the network."""

    @abstractmethod
    def target_record(self, target: Target | None) -> dict[str, Any]:
        """Return what evaluation and metrics know of a target."""

    def row_target(self, row: Row) -> Target | None:
        """Return the target of a row; in training every row must have one."""
        value = row.values.get(self.target_column)
        if value is None and self.training:
            raise UserError(
                f"{row.location}: in training a text needs the column '{self.target_column}' (got the "
                f"columns {column_names(row.values)}). Set data.{self.target_key}"
            )
        return None if value is None else self.target(value, row.location)

    def row_id(self, row: Row) -> int | str | None:
        """Return the number under which a prediction is submitted."""
        if self.id_column is None:
            return None
        value = row.values.get(self.id_column)
        if value is None:
            raise UserError(
                f"{row.location}: a text needs the column '{self.id_column}' (got the columns "
                f"{column_names(row.values)}). Set data.id_column"
            )
        text = str(value)
        # GLUE numbers its rows, other data sets name them.
        return int(text) if text.isdecimal() else text

    def encode(
        self, items: Sequence[TableText[Target]], samples: Sequence[Sample]
    ) -> dict[str, Any]:
        """Return the texts, and their targets if all have one."""
        inputs = super().encode(items, samples)
        targets = [item.target for item in items if item.target is not None]
        # All or none: a batch with some targets would pair them with the wrong texts.
        if len(targets) == len(items):
            inputs |= self.target_inputs(targets)
        return inputs

    def record(
        self, item: TableText[Target], sample: Sample | None = None
    ) -> dict[str, Any]:
        """Return what evaluation and metrics know of a text and its target."""
        return super().record(item, sample) | self.target_record(item.target)
