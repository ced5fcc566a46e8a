"""What was computed of every image and caption, kept until pairs of them are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from modules.streams import Tokens
from mplug2.train import ranks

Row = dict[str, Tokens]  # the streams of one item, without the batch axis: Tokens [length width]

_GATHERED = 256  # rows of each rank that travel together


class Store:
    """Token streams of many items in main memory: 16 bit, without padding.

    5,000 images of 577 tokens of width 768 take 4.4 GB; 25,000 captions of 12 words 0.5 GB. The network's
    own 16 bit are kept as they are, float32 as float16 (a row that float16 cannot hold stays float32).
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.spare: Row = {}  # any row, for a rank that has none of its own

    def add(self, streams: Mapping[str, Any], count: int, keep: Sequence[bool]) -> None:
        """Take in the rows of a batch of ``count`` items for which ``keep`` holds."""
        made: list[Row] = [{} for _ in range(count)]
        for name, value in streams.items():
            tokens = _as_tokens(value)
            if len(tokens.values) != count:
                raise ValueError(f"stream '{name}' must have {count} rows, but has {len(tokens.values)}")
            kept = tokens.values if tokens.values.dtype.itemsize == 2 else tokens.values.half()
            narrow = kept.isfinite().flatten(1).all(dim=1).tolist()
            values, kept = tokens.values.cpu(), kept.cpu()
            mask = None if tokens.mask is None else tokens.mask.cpu()
            for row in range(count):
                chosen = (kept if narrow[row] else values)[row]
                made[row][name] = _trimmed(chosen, None if mask is None else mask[row])
        self.spare = self.spare or made[0]
        self.rows += [row for row, wanted in zip(made, keep, strict=True) if wanted]

    def everyones(self) -> Store:
        """Return a store with the rows of all ranks, in rank order."""
        if ranks.world() == 1:
            return self
        lengths = ranks.gather(len(self.rows))
        parts: list[list[Row]] = [[] for _ in lengths]
        for start in range(0, max(lengths), _GATHERED):
            for part, rows in zip(parts, ranks.gather(self.rows[start : start + _GATHERED]), strict=True):
                part += rows
        whole = Store()
        whole.rows, whole.spare = [row for part in parts for row in part], self.spare
        return whole

    def batch(
        self, numbers: Int[Tensor, " rows"], dtype: torch.dtype, device: torch.device
    ) -> dict[str, Tokens]:
        """Return the streams of some items, padded to the longest of them; of no numbers, the spare row.

        An item that is asked for repeatedly crosses to the device once.
        """
        unique, place = torch.unique(numbers, return_inverse=True)
        chosen = [self.rows[number] for number in unique.tolist()] or [self.spare]
        found: dict[str, Tokens] = {}
        for name in chosen[0]:
            tokens = _padded([row[name] for row in chosen])
            rows = place.to(device) if len(numbers) else slice(None)
            values = tokens.values.to(device)[rows].to(dtype)
            found[name] = Tokens(values, None if tokens.mask is None else tokens.mask.to(device)[rows])
        return found


def _as_tokens(value: Any) -> Tokens:
    if isinstance(value, Tokens):
        return value
    raise TypeError(f"what the goal `rerank` starts from must be tokens, but is {type(value).__name__}")


def _trimmed(values: Tensor, mask: Tensor | None) -> Tokens:
    """A copy of one row up to its last valid position, so that nothing holds the batch it came from."""
    if mask is None:
        return Tokens(values.clone())
    length = int(mask.nonzero().max()) + 1 if mask.any() else 1
    return Tokens(values[:length].clone(), mask[:length].clone())


def _padded(rows: Sequence[Tokens]) -> Tokens:
    longest = max(len(row.values) for row in rows)
    dtypes = {row.values.dtype for row in rows}
    dtype = dtypes.pop() if len(dtypes) == 1 else torch.float32
    whole = all(len(row.values) == longest and row.mask is None for row in rows)
    values = torch.zeros(len(rows), longest, rows[0].values.shape[-1], dtype=dtype)
    mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    for place, row in enumerate(rows):
        values[place, : len(row.values)] = row.values
        mask[place, : len(row.values)] = True if row.mask is None else row.mask
    return Tokens(values, None if whole else mask)
