"""Operations that keep some elements of a stream: those with a label, or those that a mask marks.

Kept elements of all rows follow each other, row by row: M of them, each one a row.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor

from modules.streams import Regions, Tokens
from registry import operation

Values = Tokens | Regions | Float[Tensor, "b length width"]


def _dense(values: Values) -> Float[Tensor, "b length width"]:
    """Return the numbers of a stream without its padding mask."""
    return values[0] if isinstance(values, (Tokens, Regions)) else values


@operation(
    inputs={"tokens": "tokens B L width", "labels": "labels B L"},
    outputs={"hidden": "vector M@labels width", "labels": "labels M@labels"},
)
def select_labelled(tokens: Tokens, labels: Int[Tensor, "b l"]) -> dict[str, Tensor]:
    """Return the hidden states of positions with a label, and their labels; negative labels are left out."""
    kept = labels >= 0
    # (b, l, width) -> (m, width)
    return {"hidden": tokens.values[kept], "labels": labels[kept]}


@operation(
    inputs={
        "values": "tokens B L width | regions B L width | scores B L width",
        "mask": "mask B L",
    },
    outputs="vector M@mask width",
)
def select_masked(
    values: Values, mask: Bool[Tensor, "b l"]
) -> Float[Tensor, "m width"]:
    """Return the elements of all rows where the mask is True."""
    return _dense(values)[mask]


select_labelled.reads_packed = True  # type: ignore[attr-defined]  # each position by itself


def _dry_select_labelled(tokens: Tokens, labels: Tensor) -> dict[str, Tensor]:
    return {"hidden": tokens.values.flatten(0, 1), "labels": labels.flatten()}


def _dry_select_masked(values: Any, mask: Tensor) -> Tensor:
    return _dense(values).flatten(0, 1)


# On the meta device nothing has a value, so every element is kept there.
select_labelled.dry_run = _dry_select_labelled  # type: ignore[attr-defined]
select_masked.dry_run = _dry_select_masked  # type: ignore[attr-defined]
