"""Texts with a class each: one sentence or a pair, as in GLUE and in the shapes world's sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch

from mplug2.data.arguments import ArgumentError
from mplug2.data.rows import shown
from mplug2.data.tasks.text_table import TableText, TextTableTask
from mplug2.data.text import Tokenizer
from registry.errors import UserError


class TextClassTask(TextTableTask[str]):
    """Texts of one or several fields with a class each.

    ``path`` holds a table of tab-separated columns with a header (``columns`` names those of a file without
    one), or JSON lines. ``template`` joins columns to one text of at most ``text_tokens`` tokens; the longest
    field is cut first. What follows its first [SEP] is segment 1. ``labels`` are the names of the classes
    in the order of the network's outputs, or a mapping from the values in the file to those names
    (``{'0': negative, '1': positive}``): classes are never taken by number. A test set without the column
    ``label_column`` gives rows without labels. ``id_column`` holds the numbers under which predictions are
    submitted; without it rows are counted from 0.
    """

    outputs = {"text": "text B L", "label": "labels B"}
    class_names = {"label": "labels"}

    def __init__(
        self,
        labels: list[str] | dict[str, str],
        tokenizer: Tokenizer,
        template: str = "[CLS] {sentence1} [SEP] {sentence2} [SEP]",
        text_tokens: int = 128,
        label_column: str = "label",
        columns: list[str] | None = None,
        id_column: str | None = None,
        training: bool = False,
    ) -> None:
        # A list names the classes as the file does.
        self.label_names = (
            labels
            if isinstance(labels, dict)
            else dict(zip(labels, labels, strict=True))
        )
        self.classes = list(dict.fromkeys(self.label_names.values()))
        if len(self.classes) < 2 or len(self.label_names) != len(labels):
            raise ArgumentError(
                "labels",
                f"labels must be two or more different names, but are {labels}",
            )
        target_column = (label_column, "label_column")
        super().__init__(
            tokenizer,
            template,
            text_tokens,
            columns,
            id_column,
            training,
            target_column,
        )

    def target(self, value: Any, location: str) -> str:
        """Return the name of the class that a file's value means."""
        if str(value) not in self.label_names:
            choices = ", ".join(self.label_names)
            raise UserError(
                f"{location}: '{self.target_column}' must be one of {choices} (got {shown(value)}). "
                "Set data.labels"
            )
        return self.label_names[str(value)]

    def target_inputs(self, targets: Sequence[str]) -> dict[str, Any]:
        """Return the numbers of the classes."""
        return {"label": torch.tensor([self.classes.index(name) for name in targets])}

    def target_record(self, target: str | None) -> dict[str, Any]:
        """Return the class as the only answer, and the names of all classes."""
        return {"answers": [] if target is None else [target], "classes": self.classes}

    def counts(self, items: Sequence[TableText[str]]) -> dict[str, int]:
        """Return how many texts each class has, for `mplug2 data check`."""
        # Texts without a class are under None.
        numbers = Counter(item.target for item in items)
        counts = {name: numbers[name] for name in self.classes if numbers[name]}
        if numbers[None]:
            counts["without a label"] = numbers[None]
        counts["refused rows"] = self.num_refused
        return counts
