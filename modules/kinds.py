"""The torch halves of the kinds of streams (`registry/kinds.py`): how values of each kind are handled.

A half is a class that is made without arguments. A package that adds a kind may write one from nothing, or
extend one of these classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from registry import KINDS


@runtime_checkable
class TorchHalf(Protocol):
    """The operations on values of one kind. A row is an entry of the first axis."""

    value_class: type

    def blank(self, sizes: Sequence[int], device: torch.device | str) -> Any:
        """Return a value without content; on the device `meta` for the dry run."""

    def random(
        self, sizes: Sequence[int], generator: torch.Generator, count: int
    ) -> Any:
        """Return a valid random value on the CPU; row and class numbers in it are below `count`."""

    def shape(self, value: Any) -> list[int]:
        """Return the sizes of the axes that a port of this kind declares."""

    def describe(self, value: Any) -> str:
        """Return the size of a value as text, for messages and tables."""

    def tensors(self, value: Any) -> list[Tensor]:
        """Return the tensors in a value."""

    def cast(self, value: Any, dtype: torch.dtype) -> Any:
        """Return a value from outside the network in the precision that a network of `dtype` takes it in."""

    def to_device(self, value: Any, device: torch.device | str) -> Any:
        """Return a value on a device."""

    def detach(self, value: Any) -> Any:
        """Return a value through which no gradient flows."""

    def concat(
        self, values: Sequence[Any], offsets: Sequence[int] | None = None
    ) -> Any:
        """Return one value with the rows of several; `offsets` are added to row numbers, one a value."""

    def select(self, value: Any, rows: Tensor) -> Any:
        """Return some rows of a value, by an int64 tensor of their numbers."""


def half(kind: str) -> TorchHalf:
    """Return the torch half of a kind; raise `UserError` if it does not exist."""
    torch_half: TorchHalf = KINDS.half(kind)
    return torch_half


class TensorValues:
    """Plain tensors that are passed on in the precision they come in."""

    value_class: type = Tensor
    dtype: torch.dtype | None = None  # of a blank value; default: torch's default

    def blank(self, sizes: Sequence[int], device: torch.device | str) -> Any:
        """Return zeros."""
        return torch.zeros(list(sizes), dtype=self.dtype, device=device)

    def random(
        self, sizes: Sequence[int], generator: torch.Generator, count: int
    ) -> Any:
        """Return numbers from [0, 1)."""
        return torch.rand(list(sizes), generator=generator)

    def shape(self, value: Any) -> list[int]:
        """Return the tensor's shape."""
        return list(value.shape)

    def describe(self, value: Any) -> str:
        """Return the shape as `[2, 16]`."""
        return str(list(self.tensors(value)[0].shape))

    def tensors(self, value: Any) -> list[Tensor]:
        """Return the tensor itself."""
        return [value]

    def cast(self, value: Any, dtype: torch.dtype) -> Any:
        """Return the value unchanged."""
        return value

    def to_device(self, value: Any, device: torch.device | str) -> Any:
        """Return the value on a device."""
        # From pinned memory the copy runs while the CPU continues.
        return self._map(value, lambda tensor: tensor.to(device, non_blocking=True))

    def detach(self, value: Any) -> Any:
        """Return a tensor without gradient."""
        return self._map(value, Tensor.detach)

    def concat(
        self, values: Sequence[Any], offsets: Sequence[int] | None = None
    ) -> Any:
        """Return the rows of several tensors, whose other sizes must agree."""
        return torch.cat(list(values))

    def select(self, value: Any, rows: Tensor) -> Any:
        """Return some rows of a tensor."""
        return self._map(value, lambda tensor: tensor[rows.to(tensor.device)])

    def _map(self, value: Any, function: Callable[[Tensor], Tensor]) -> Any:
        """Return the value with a function applied to each of its tensors."""
        return function(value)


class RealValues(TensorValues):
    """Real numbers that are cast to the network's precision, such as pixels."""

    def cast(self, value: Any, dtype: torch.dtype) -> Any:
        """Return a floating-point tensor in the network's precision; integers (uint8 pixels) unchanged."""
        is_real = isinstance(value, Tensor) and value.is_floating_point()
        return value.to(dtype) if is_real else value


class FullPrecisionValues(TensorValues):
    """Real numbers that half precision would round too much, such as targets: float32, or float64."""

    def cast(self, value: Any, dtype: torch.dtype) -> Any:
        """Return a floating-point tensor as float32, or as float64 if the network is."""
        is_real = isinstance(value, Tensor) and value.is_floating_point()
        return value.to(torch.promote_types(dtype, torch.float32)) if is_real else value


class BoxValues(FullPrecisionValues):
    """Boxes as left, top, right, bottom."""

    def random(
        self, sizes: Sequence[int], generator: torch.Generator, count: int
    ) -> Any:
        """Return boxes with left <= right and top <= bottom."""
        numbers = torch.rand(list(sizes), generator=generator)
        if not sizes or sizes[-1] != 4:
            return numbers
        corners = numbers.unflatten(-1, (2, 2)).sort(dim=-2).values
        return corners.flatten(-2)


class WeightValues(FullPrecisionValues):
    """Weights of rows."""

    def random(
        self, sizes: Sequence[int], generator: torch.Generator, count: int
    ) -> Any:
        """Return ones: a loss of rows that all have weight 0 would have no gradient."""
        return torch.ones(list(sizes))


class LabelValues(TensorValues):
    """Class numbers."""

    dtype = torch.long

    def random(
        self, sizes: Sequence[int], generator: torch.Generator, count: int
    ) -> Any:
        """Return 0, 1, ..., `count` - 1, repeated, so that every class occurs."""
        return (torch.arange(torch.Size(sizes).numel()) % count).reshape(list(sizes))


class IndexValues(LabelValues):
    """Row numbers of another stream."""

    def concat(
        self, values: Sequence[Any], offsets: Sequence[int] | None = None
    ) -> Any:
        """Return all row numbers, each raised by the offset of its value: the rows that come before."""
        if offsets is None:
            raise ValueError(
                "an index counts rows of another stream: concat needs `offsets`, one a value"
            )
        shifted = [
            value + offset for value, offset in zip(values, offsets, strict=True)
        ]
        return torch.cat(shifted)


class StringValues(TensorValues):
    """A list of texts for each row, on no device."""

    value_class = list

    def blank(self, sizes: Sequence[int], device: torch.device | str) -> Any:
        """Return one empty text for each row."""
        return [[""] for _ in range(sizes[0] if sizes else 1)]

    def random(
        self, sizes: Sequence[int], generator: torch.Generator, count: int
    ) -> Any:
        """Return two texts for each row, always the same."""
        return [["a word", "another word"] for _ in range(sizes[0] if sizes else 1)]

    def shape(self, value: Any) -> list[int]:
        """Return the number of rows."""
        return [len(value)]

    def describe(self, value: Any) -> str:
        """Return the number of rows as `[2]`."""
        return str([len(value)])

    def tensors(self, value: Any) -> list[Tensor]:
        """Return nothing."""
        return []

    def concat(
        self, values: Sequence[Any], offsets: Sequence[int] | None = None
    ) -> Any:
        """Return the rows of several lists."""
        return [row for value in values for row in value]

    def select(self, value: Any, rows: Tensor) -> Any:
        """Return some rows of a list."""
        return [value[row] for row in rows.tolist()]

    def _map(self, value: Any, function: Callable[[Tensor], Tensor]) -> Any:
        return value
