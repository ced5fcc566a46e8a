"""The torch half of the kind `bytes`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modules.kinds import TensorValues
from modules.padded_kinds import pad_to_longest


@dataclass(frozen=True)
class Bytes:
    """Bytes of texts, padded with 0 at the end: ``values`` uint8 [B L], ``lengths`` int64 [B]."""

    values: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, texts: Sequence[str]) -> Bytes:
        """Return the UTF-8 bytes of texts."""
        rows = [torch.tensor(list(text.encode()), dtype=torch.uint8) for text in texts]
        lengths = torch.tensor([len(row) for row in rows])
        return cls(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths)


class ByteValues(TensorValues):
    """How the framework handles values of the kind; both tensors have the rows as their first axis."""

    value_class = Bytes

    def blank(self, sizes: Sequence[int], device: torch.device | str) -> Bytes:
        """Return zeros of full length."""
        values = torch.zeros(list(sizes), dtype=torch.uint8, device=device)
        return Bytes(values, torch.full((sizes[0],), sizes[1], device=device))

    def random(self, sizes: Sequence[int], generator: torch.Generator, count: int) -> Bytes:
        """Return random bytes of full length."""
        values = torch.randint(256, list(sizes), generator=generator, dtype=torch.uint8)
        return Bytes(values, torch.full((sizes[0],), sizes[1]))

    def shape(self, value: Bytes) -> list[int]:
        """Return rows and padded length."""
        return list(value.values.shape)

    def tensors(self, value: Bytes) -> list[Tensor]:
        """Return both tensors."""
        return [value.values, value.lengths]

    def concat(self, values: Sequence[Bytes], offsets: Sequence[int] | None = None) -> Bytes:
        """Return the rows of several values, padded to the longest."""
        padded = pad_to_longest([value.values for value in values], axis=1)
        return Bytes(torch.cat(padded), torch.cat([value.lengths for value in values]))

    def _map(self, value: Bytes, function: Callable[[Tensor], Tensor]) -> Any:
        return Bytes(function(value.values), function(value.lengths))
