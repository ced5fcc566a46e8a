"""Losses of tokens: a sum and a count of each text, which metrics add up over the split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from mplug2.metrics.metric import Row
from registry import UserError
from registry.evaluations import EvaluationSpec


class Perplexity:
    """Rows with the summed loss of a text (``loss_sum``, in nats) and its scored tokens (``num_tokens``).

    The goal has outputs of these two names, such as those of the operation `token_loss`. If it has
    ``num_correct``, too (`masked_loss`), rows hold how many tokens were right. Means of batch means depend on
    the batch size; sums do not.
    """

    inputs = {
        "loss_sum": "weight B",
        "num_tokens": "weight B",
        "num_correct?": "weight B",
    }
    outputs: ClassVar[dict[str, str]] = {}  # All values are those of metrics.
    one_row_per_record = True

    def __init__(self, *, settings: EvaluationSpec) -> None:
        self.settings = settings
        self.rows: list[Row] = []

    @property
    def goals(self) -> tuple[str, ...]:
        """The goal of the evaluation."""
        return (self.settings.goal,)

    def update(self, outputs: Mapping[str, Any], records: Sequence[Row]) -> None:
        """Add a row for each record."""
        columns = {}
        names = [name for name in self.inputs if not name.endswith("?")]
        names += [name for name in ("num_correct",) if name in outputs]
        for name in names:
            value = outputs.get(name)
            if not isinstance(value, torch.Tensor) or value.shape != (len(records),):
                form = (
                    list(value.shape)
                    if isinstance(value, torch.Tensor)
                    else type(value).__name__
                )
                raise UserError(
                    f"goal '{self.goals[0]}' must have the output '{name}' with one number for each of "
                    f"{len(records)} texts (got {form}). Use the outputs of `token_loss`"
                )
            columns[name] = value.double().tolist()
        for number, record in enumerate(records):
            self.rows.append(
                {**record, **{name: column[number] for name, column in columns.items()}}
            )

    def compute(self) -> tuple[dict[str, float], list[Row]]:
        """Return the rows of this rank; the metrics compute the values."""
        return {}, self.rows
