"""Cache the token streams of all images and captions for re-ranking."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from modules.streams import Tokens, full_mask
from mplug2.runtime import distributed


class Rows:
    """Vectors that come in batches, in one piece of main memory.

    It doubles when it is full: pages that were never written take no memory, and batches kept one by one
    leave holes.
    """

    def __init__(self) -> None:
        self._rows, self._count = torch.empty(0), 0

    def add(self, rows: Float[Tensor, "batch width"]) -> None:
        """Take in a batch, which may be empty."""
        if not len(rows):
            return
        end = self._count + len(rows)
        if end > len(self._rows):
            wider = torch.empty(max(end, 2 * len(self._rows)), rows.shape[1])
            if self._count:
                wider[: self._count] = self._rows[: self._count]
            self._rows = wider
        self._rows[self._count : end] = rows
        self._count = end

    def values(self) -> Float[Tensor, "rows width"]:
        """Return all of them."""
        rows = self._rows[: self._count]
        # A copy where it goes to other ranks: a view is sent with all that is behind it.
        return rows if distributed.world_size() == 1 else rows.clone()


@dataclass
class Packed:
    """Concatenated tokens of the items of one batch, without the padding behind each."""

    values: Tensor  # [total width]
    mask: Tensor | None  # [total]
    lengths: list[int]


@dataclass
class Stream:
    """One token stream of many items: the batches it came in, and the position of each item in them."""

    packs: list[Packed] = field(default_factory=list)
    places: array[int] = field(
        default_factory=lambda: array("q")
    )  # of each item: pack, start, length

    def add(self, pack: Packed) -> None:
        """Take in a batch."""
        start = 0
        for length in pack.lengths:
            self.places.extend((len(self.packs), start, length))
            start += length
        self.packs.append(pack)

    def rows(
        self, numbers: Sequence[int], device: torch.device, dtype: torch.dtype
    ) -> Tokens:
        """Return some items, padded to the longest of them."""
        places = [self.places[3 * number : 3 * number + 3] for number in numbers]
        longest = max(length for _, _, length in places)
        first = self.packs[places[0][0]].values
        values = torch.zeros(len(places), longest, first.shape[-1], dtype=first.dtype)
        mask = torch.zeros(len(places), longest, dtype=torch.bool)
        for row, (number, start, length) in enumerate(places):
            pack, part = self.packs[number], slice(start, start + length)
            if pack.values.dtype != values.dtype:
                values = values.to(torch.float32)
            values[row, :length] = pack.values[part]
            mask[row, :length] = True if pack.mask is None else pack.mask[part]
        return Tokens(
            values.to(device).to(dtype), None if mask.all() else mask.to(device)
        )


class TokenCache:
    """Token streams of many items in main memory: 16 bit, without padding.

    5,000 images of 577 tokens of width 768 take 4.4 GB; 25,000 captions of 12 words 0.5 GB. The network's
    16 bit are kept unchanged, float32 as float16 (a batch that float16 cannot hold stays float32).
    """

    def __init__(self) -> None:
        self.streams: dict[str, Stream] = {}
        self.spare: dict[str, Stream] = {}  # any item, for a rank without items

    def add(self, streams: Mapping[str, Any], keep: Sequence[bool]) -> None:
        """Take in the items of a batch for which ``keep`` holds."""
        for name, tokens in streams.items():
            if not isinstance(tokens, Tokens) or len(tokens.values) != len(keep):
                raise TypeError(
                    f"stream '{name}', from which `rerank` starts, must be tokens of {len(keep)} rows"
                )
            if name not in self.spare:
                self.spare[name] = Stream()
                self.spare[name].add(_packed(tokens, [0]))
            kept = [row for row, is_kept in enumerate(keep) if is_kept]
            stream = self.streams.setdefault(name, Stream())
            if kept:
                stream.add(_packed(tokens, kept))

    def gather_all(self) -> TokenCache:
        """Return a cache with the items of all ranks, in rank order."""
        if distributed.world_size() == 1:
            return self
        complete = TokenCache()
        complete.spare = self.spare
        for name, stream in self.streams.items():
            parts: list[list[Packed]] = [[] for _ in range(distributed.world_size())]
            num_packs = max(distributed.all_gather_object(len(stream.packs)))
            # One pack at a time: gathering copies what it sends several times over.
            for turn in range(num_packs):
                gathered = distributed.all_gather_object(stream.packs[turn : turn + 1])
                for part, packs in zip(parts, gathered, strict=True):
                    part += packs
            complete.streams[name] = Stream()
            for part in parts:
                for pack in part:
                    complete.streams[name].add(pack)
        return complete

    def batch(
        self, numbers: Int[Tensor, " rows"], device: torch.device, dtype: torch.dtype
    ) -> dict[str, Tokens]:
        """Return the streams of some items, padded to the longest of them; of no numbers, the spare item.

        An item that is asked for repeatedly crosses to the device once.
        """
        if not len(numbers):
            spare = {}
            for name, stream in self.spare.items():
                spare[name] = stream.rows([0], device, dtype)
            return spare
        unique, inverse = torch.unique(numbers, return_inverse=True)
        inverse = inverse.to(device)
        streams: dict[str, Tokens] = {}
        for name, stream in self.streams.items():
            tokens = stream.rows(unique.tolist(), device, dtype)
            mask = None if tokens.mask is None else tokens.mask[inverse]
            streams[name] = Tokens(tokens.values[inverse], mask)
        return streams


def _packed(tokens: Tokens, rows: Sequence[int]) -> Packed:
    """Copies of some rows up to the last valid position of each, at least one."""
    values, valid = tokens.values.detach().cpu(), full_mask(tokens).cpu()
    lengths, row_values, row_masks = [], [], []
    for row in rows:
        positions = valid[row].nonzero()
        length = int(positions.max()) + 1 if len(positions) else 1
        lengths.append(length)
        row_values.append(values[row, :length])
        row_masks.append(valid[row, :length])
    # (all tokens, width) and (all tokens)
    joined, mask = torch.cat(row_values), torch.cat(row_masks)
    if joined.dtype == torch.float32 and (half := joined.half()).isfinite().all():
        joined = half
    return Packed(joined, None if mask.all() else mask, lengths)
