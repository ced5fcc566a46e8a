"""Several texts in one row: where each begins, which tokens see each other, and who may read such rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from modules.streams import Text, Tokens
from registry.errors import UserError


def part_starts(parts: Int[Tensor, "b l"]) -> Int[Tensor, "b l"]:
    """Return for each token the place in the row where its text begins."""
    places = torch.arange(parts.shape[1], device=parts.device).expand(parts.shape)
    begins = torch.ones_like(parts, dtype=torch.bool)
    begins[:, 1:] = parts[:, 1:] != parts[:, :-1]
    # Places only grow along a row, so the largest so far is that of the last beginning.
    return (places * begins).cummax(dim=1).values


def positions_in_text(text: Text) -> Int[Tensor, "b l"]:
    """Return the position of each token in its text, from 0."""
    length = text.ids.shape[1]
    places = torch.arange(length, device=text.ids.device).expand(text.ids.shape)
    return places if text.parts is None else places - part_starts(text.parts)


def visible(
    mask: Bool[Tensor, "b l"], parts: Int[Tensor, "b l"] | None
) -> Bool[Tensor, "b 1 _ l"]:
    """Return which keys each query sees: those that are not padding, and of packed rows the same text's.

    Padding belongs to text 0 of its row, which is not empty: no query is left without a key, which would
    give NaN.
    """
    keys = mask[:, None, None, :]
    if parts is None:
        return keys
    # (b, heads, queries, keys)
    same_text = parts[:, None, :, None] == parts[:, None, None, :]
    return keys & same_text


def num_packed(parts: Int[Tensor, "b l"]) -> Float[Tensor, ""]:
    """Return the number of texts in all rows."""
    # Texts of a row are numbered from 0.
    return (parts.amax(dim=1) + 1).sum().float()


def refuse_packed(reader: Any, values: Iterable[Any]) -> None:
    """Raise UserError if packed rows reach a module or operation that would mix their texts.

    One that keeps them apart declares ``reads_packed = True``.
    """
    if getattr(reader, "reads_packed", False):
        return
    for value in values:
        if isinstance(value, (Text, Tokens)) and value.parts is not None:
            raise UserError(
                "several texts are packed into a row, which is not kept apart here. Remove `row_tokens` from "
                "the source"
            )
