"""Texts with a class each: one sentence or a pair, as in GLUE and in the shapes world's sentences."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mplug2.data.arguments import ArgumentError
from mplug2.data.batch import Sample
from mplug2.data.rows import shown
from mplug2.data.tables import Row, read_table
from mplug2.data.template import TextTemplate
from mplug2.data.text import Tokenizer
from registry.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledText:
    """The fields of one text by name, and the name of its class, None in a test set."""

    fields: dict[str, str]
    label: str | None
    kind: str | None = None


class TextClassTask:
    """Texts of one or several fields with a class each.

    ``path`` holds a table of tab-separated columns with a header (``columns`` names those of a file without
    one), or JSON lines. ``template`` joins columns to one text of at most ``text_tokens`` tokens; the longest
    field is cut first. What follows its first [SEP] is segment 1. ``labels`` are the names of the classes
    in the order of the network's outputs, or a mapping from the values in the file to those names
    (``{'0': negative, '1': positive}``): classes are never taken by number. A test set without the column
    ``label_column`` gives rows without labels.
    """

    outputs = {"text": "text B L", "label": "labels B"}
    query_input = "text"
    token_limits = {"text": "text_tokens"}
    class_names = {"label": "labels"}

    def __init__(
        self,
        labels: list[str] | dict[str, str],
        tokenizer: Tokenizer,
        template: str = "[CLS] {sentence1} [SEP] {sentence2} [SEP]",
        text_tokens: int = 128,
        label_column: str = "label",
        columns: list[str] | None = None,
        training: bool = False,
    ) -> None:
        self.label_names = labels if isinstance(labels, dict) else {label: label for label in labels}
        self.classes = list(dict.fromkeys(self.label_names.values()))
        if len(self.classes) < 2 or len(self.label_names) != len(labels):
            raise ArgumentError("labels", f"labels must be two or more different names, but are {labels}")
        self.tokenizer, self.training = tokenizer, training
        self.template = TextTemplate(template, tokenizer, text_tokens)
        self.label_column, self.columns = label_column, columns
        self.num_refused = 0

    def read(self, path: Path) -> list[LabelledText]:
        """Return the texts of a file; in training every one must have a label."""
        table = read_table(path, self.columns)
        if table.refused:
            log.warning("%d rows are left out, the first: %s", len(table.refused), table.refused[0])
        self.num_refused += len(table.refused)
        return [self._item(row) for row in table.rows]

    def _item(self, row: Row) -> LabelledText:
        fields = {}
        for name in self.template.fields:
            if not isinstance(row.values.get(name), str):
                raise UserError(
                    f"{row.location}: the template needs the text '{name}' (got the columns "
                    f"{', '.join(row.values)}). Set data.template, or data.columns"
                )
            fields[name] = row.values[name]
        label = row.values.get(self.label_column)
        if label is None and self.training:
            raise UserError(
                f"{row.location}: in training a text needs the column '{self.label_column}' (got the columns "
                f"{', '.join(row.values)}). Set data.label_column"
            )
        kind = row.values.get("type")
        return LabelledText(fields, self._class_name(label, row.location), kind)

    def _class_name(self, label: Any, location: str) -> str | None:
        if label is None:
            return None
        if str(label) not in self.label_names:
            choices = ", ".join(self.label_names)
            raise UserError(
                f"{location}: '{self.label_column}' must be one of {choices} (got {shown(label)}). "
                "Set data.labels"
            )
        return self.label_names[str(label)]

    def question(self, text: str) -> LabelledText:
        """Return a text without a label; the fields of a pair are separated by [SEP]."""
        names = self.template.fields
        parts = [part.strip() for part in text.split("[SEP]")]
        if len(parts) != len(names):
            raise UserError(
                f"a text must have {len(names)} part(s), {' [SEP] '.join(names)} (got {len(parts)}): {text!r}"
            )
        return LabelledText(dict(zip(names, parts, strict=True)), None)

    def encode(self, items: Sequence[LabelledText], samples: Sequence[Sample]) -> dict[str, Any]:
        """Return the texts, and their labels if all have one."""
        encoded = [self.template.encode_segments(item.fields) for item in items]
        rows = [row for row, _ in encoded]
        has_pairs = len(self.template.fields) > 1
        segments = [row_segments for _, row_segments in encoded] if has_pairs else None
        inputs: dict[str, Any] = {"text": self.tokenizer.pad_rows(rows, segments)}
        classes = [self.classes.index(item.label) for item in items if item.label is not None]
        if len(classes) == len(items):
            inputs["label"] = torch.tensor(classes)
        return inputs

    def record(self, item: LabelledText, sample: Sample | None = None) -> dict[str, Any]:
        """Return what evaluation and metrics know of a text."""
        record: dict[str, Any] = dict(item.fields)
        record["answers"] = [] if item.label is None else [item.label]
        record["classes"] = self.classes
        if item.kind is not None:
            record["type"] = item.kind
        return record

    def num_tokens(self, item: LabelledText) -> int:
        """Return the tokens of a text, as it is cut."""
        return len(self.template.encode(item.fields))

    def counts(self, items: Sequence[LabelledText]) -> dict[str, int]:
        """Return how many texts each class has, for `mplug2 data check`."""
        numbers = Counter(item.label for item in items)
        counts = {name: numbers[name] for name in self.classes if numbers[name]}
        if numbers[None]:
            counts["without a label"] = numbers[None]
        counts["refused rows"] = self.num_refused
        return counts
