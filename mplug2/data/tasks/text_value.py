"""Texts with a number each, such as how similar two sentences are (STS-B of GLUE)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from mplug2.data.arguments import ArgumentError
from mplug2.data.rows import shown
from mplug2.data.tasks.text_table import TableText, TextTableTask
from mplug2.data.text import Tokenizer
from registry.errors import UserError


class TextValueTask(TextTableTask[float]):
    """Texts of one or several fields with a number each.

    Files, ``template``, ``columns`` and ``id_column`` are those of `text_class`. ``value_column`` holds the
    number; a test set without it gives rows without values. ``value_range`` is the least and the greatest
    number that a file may hold; submitted predictions are cut to it.
    """

    outputs = {"text": "text B L", "value": "scores B"}

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: str = "[CLS] {sentence1} [SEP] {sentence2} [SEP]",
        text_tokens: int = 128,
        value_column: str = "score",
        value_range: list[float] | None = None,
        columns: list[str] | None = None,
        id_column: str | None = None,
        training: bool = False,
    ) -> None:
        if value_range is not None:
            is_range = len(value_range) == 2 and value_range[0] < value_range[1]
            if not is_range:
                message = f"value_range must be two numbers, the smaller one first (got {value_range})"
                raise ArgumentError("value_range", message)
        self.value_range = value_range
        target_column = (value_column, "value_column")
        super().__init__(
            tokenizer,
            template,
            text_tokens,
            columns,
            id_column,
            training,
            target_column,
        )

    def target(self, value: Any, location: str) -> float:
        """Return the number that a file holds."""
        try:
            number = float(value)
        except (TypeError, ValueError):
            # Refused below, together with numbers out of range.
            number = math.nan
        least, greatest = self.value_range or (-math.inf, math.inf)
        if not math.isfinite(number) or not least <= number <= greatest:
            extent = f" from {least:g} to {greatest:g}" if self.value_range else ""
            raise UserError(
                f"{location}: '{self.target_column}' must be a number{extent} (got {shown(value)}). "
                "Set data.value_column, or data.value_range"
            )
        return number

    def target_inputs(self, targets: Sequence[float]) -> dict[str, Any]:
        """Return the numbers, float32 [B]."""
        return {"value": torch.tensor(targets)}

    def target_record(self, target: float | None) -> dict[str, Any]:
        """Return the number under ``value``, and as the only answer."""
        return (
            {"answers": []}
            if target is None
            else {"answers": [target], "value": target}
        )

    def counts(self, items: Sequence[TableText[float]]) -> dict[str, int]:
        """Return how many texts have a number, for `mplug2 data check`."""
        num_missing = sum(item.target is None for item in items)
        counts = {"with a value": len(items) - num_missing}
        if num_missing:
            counts["without a value"] = num_missing
        counts["refused rows"] = self.num_refused
        return counts
