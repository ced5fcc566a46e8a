"""The torch halves of the kinds of streams (`registry/kinds.py`): how values of each kind are handled.

A half is a class that is made without arguments. A package that adds a kind may write one from nothing, or
extend one of these classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from modules.streams import Sequences, Text, Tokens, full_mask
from registry import KINDS

TEXT_LENGTH = 4  # ids in a blank or random sequence, with [CLS]
SMALL_VOCABULARY = 8  # random ids are below this


@runtime_checkable
class TorchHalf(Protocol):
    """The operations on values of one kind. A row is an entry of the first axis."""

    value_class: type

    def blank(self, sizes: Sequence[int], device: torch.device | str) -> Any:
        """Return a value without content; on the device `meta` for the dry run."""

    def random(self, sizes: Sequence[int], generator: torch.Generator, count: int) -> Any:
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

    def concat(self, values: Sequence[Any], offsets: Sequence[int] | None = None) -> Any:
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

    def random(self, sizes: Sequence[int], generator: torch.Generator, count: int) -> Any:
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
        return self._map(value, lambda tensor: tensor.to(device, non_blocking=True))

    def detach(self, value: Any) -> Any:
        """Return a tensor without gradient."""
        return self._map(value, Tensor.detach)

    def concat(self, values: Sequence[Any], offsets: Sequence[int] | None = None) -> Any:
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

    def random(self, sizes: Sequence[int], generator: torch.Generator, count: int) -> Any:
        """Return boxes with left <= right and top <= bottom."""
        numbers = torch.rand(list(sizes), generator=generator)
        if not sizes or sizes[-1] != 4:
            return numbers
        corners = numbers.unflatten(-1, (2, 2)).sort(dim=-2).values
        return corners.flatten(-2)


class WeightValues(FullPrecisionValues):
    """Weights of rows."""

    def random(self, sizes: Sequence[int], generator: torch.Generator, count: int) -> Any:
        """Return ones: a loss of rows that all have weight 0 would have no gradient."""
        return torch.ones(list(sizes))


class LabelValues(TensorValues):
    """Class numbers."""

    dtype = torch.long

    def random(self, sizes: Sequence[int], generator: torch.Generator, count: int) -> Any:
        """Return 0, 1, ..., `count` - 1, repeated, so that every class occurs."""
        return (torch.arange(torch.Size(sizes).numel()) % count).reshape(list(sizes))


class IndexValues(LabelValues):
    """Row numbers of another stream."""

    def concat(self, values: Sequence[Any], offsets: Sequence[int] | None = None) -> Any:
        """Return all row numbers, each raised by the offset of its value: the rows that come before."""
        if offsets is None:
            raise ValueError("an index counts rows of another stream: concat needs `offsets`, one a value")
        shifted = [value + offset for value, offset in zip(values, offsets, strict=True)]
        return torch.cat(shifted)


class MaskValues(TensorValues):
    """Booleans, True for an element that counts."""

    dtype = torch.bool

    def blank(self, sizes: Sequence[int], device: torch.device | str) -> Any:
        """Return a mask in which every element counts."""
        return torch.ones(list(sizes), dtype=self.dtype, device=device)

    def random(self, sizes: Sequence[int], generator: torch.Generator, count: int) -> Any:
        """Return a mask in which the first element of each row counts, and half of the others."""
        mask = torch.rand(list(sizes), generator=generator) < 0.5
        mask[..., 0] = True
        return mask

    def concat(self, values: Sequence[Any], offsets: Sequence[int] | None = None) -> Any:
        """Return the rows of several masks, padded with False to the longest."""
        return torch.cat(pad_to_longest(values, axis=1) if values[0].ndim > 1 else list(values))


class TupleValues(TensorValues):
    """Named tuples of tensors, some of which may be None; all have the rows as their first axis."""

    def tensors(self, value: Any) -> list[Tensor]:
        """Return the tensors that are present."""
        return [tensor for tensor in value if tensor is not None]

    def shape(self, value: Any) -> list[int]:
        """Return the shape of the first tensor."""
        return list(value[0].shape)

    def _map(self, value: Any, function: Callable[[Tensor], Tensor]) -> Any:
        mapped = [None if tensor is None else function(tensor) for tensor in value]
        return type(value)(*mapped)


class TextValues(TupleValues):
    """`Text`: token ids and their padding mask, and if they are supplied segments and word starts."""

    value_class = Text

    def blank(self, sizes: Sequence[int], device: torch.device | str) -> Any:
        """Return a text of padding ids that all count."""
        ids = torch.zeros(list(sizes), dtype=torch.long, device=device)
        return Text(ids, torch.ones_like(ids, dtype=torch.bool))

    def random(self, sizes: Sequence[int], generator: torch.Generator, count: int) -> Any:
        """Return ids of a small vocabulary; the last row ends in padding."""
        mask = torch.ones(list(sizes), dtype=torch.bool)
        mask[-1, -1] = False
        ids = torch.randint(1, SMALL_VOCABULARY, list(sizes), generator=generator)
        return Text(ids * mask, mask)

    def concat(self, values: Sequence[Any], offsets: Sequence[int] | None = None) -> Any:
        """Return the rows of several texts, padded to the longest."""
        ids = torch.cat(pad_to_longest([value.ids for value in values], axis=1))
        mask = torch.cat(pad_to_longest([value.mask for value in values], axis=1))
        segments, word_start = None, None
        if any(value.segments is not None for value in values):
            # A text without segments is one segment, number 0.
            parts = [_segments(value) for value in values]
            segments = torch.cat(pad_to_longest(parts, axis=1))
        if all(value.word_start is not None for value in values):
            word_start = torch.cat(pad_to_longest([value.word_start for value in values], axis=1))
        return Text(ids, mask, segments, word_start)


def _segments(text: Text) -> Tensor:
    return torch.zeros_like(text.ids) if text.segments is None else text.segments


class TokenValues(TupleValues):
    """`Tokens`: hidden states and their padding mask, None if all of them count."""

    value_class = Tokens

    def blank(self, sizes: Sequence[int], device: torch.device | str) -> Any:
        """Return hidden states without padding."""
        return Tokens(torch.zeros(list(sizes), device=device))

    def random(self, sizes: Sequence[int], generator: torch.Generator, count: int) -> Any:
        """Return normally distributed hidden states without padding."""
        return Tokens(torch.randn(list(sizes), generator=generator))

    def cast(self, value: Any, dtype: torch.dtype) -> Any:
        """Return hidden states in the network's precision."""
        return Tokens(value.values.to(dtype), value.mask) if isinstance(value, Tokens) else value

    def concat(self, values: Sequence[Any], offsets: Sequence[int] | None = None) -> Any:
        """Return the rows of several streams, padded to the longest; the mask is None if none has padding."""
        states = torch.cat(pad_to_longest([value.values for value in values], axis=1))
        lengths = {value.values.shape[1] for value in values}
        if len(lengths) == 1 and all(value.mask is None for value in values):
            return Tokens(states)
        return Tokens(states, torch.cat(pad_to_longest([full_mask(value) for value in values], axis=1)))


class SequenceValues(TupleValues):
    """`Sequences`: token ids with scores. A port declares rows and sequences, but not their length."""

    value_class = Sequences

    def shape(self, value: Any) -> list[int]:
        """Return the number of rows and of sequences in each."""
        return list(value.ids.shape[:-1])

    def blank(self, sizes: Sequence[int], device: torch.device | str) -> Any:
        """Return sequences of padding ids with score 0."""
        ids = torch.zeros([*sizes, TEXT_LENGTH], dtype=torch.long, device=device)
        return Sequences(ids, torch.zeros(list(sizes), device=device))

    def random(self, sizes: Sequence[int], generator: torch.Generator, count: int) -> Any:
        """Return ids of a small vocabulary with negative scores, best first."""
        ids = torch.randint(1, SMALL_VOCABULARY, [*sizes, TEXT_LENGTH], generator=generator)
        scores = -torch.rand(list(sizes), generator=generator)
        return Sequences(ids, scores.sort(dim=-1, descending=True).values)

    def concat(self, values: Sequence[Any], offsets: Sequence[int] | None = None) -> Any:
        """Return the rows of several values, padded to the longest sequence; ValueError if fields differ."""
        fields: dict[str, Tensor | None] = {}
        for name in Sequences._fields:
            parts = [getattr(value, name) for value in values]
            missing = sum(part is None for part in parts)
            if 0 < missing < len(parts):
                raise ValueError(f"`{name}` of sequences must be set in all values or in none")
            if missing:
                fields[name] = None
            elif name in ("ids", "logprobs"):
                fields[name] = torch.cat(pad_to_longest(parts, axis=2))
            else:
                fields[name] = torch.cat(parts)
        return Sequences(**fields)  # type: ignore[arg-type]


class StringValues(TensorValues):
    """A list of texts for each row, on no device."""

    value_class = list

    def blank(self, sizes: Sequence[int], device: torch.device | str) -> Any:
        """Return one empty text for each row."""
        return [[""] for _ in range(sizes[0] if sizes else 1)]

    def random(self, sizes: Sequence[int], generator: torch.Generator, count: int) -> Any:
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

    def concat(self, values: Sequence[Any], offsets: Sequence[int] | None = None) -> Any:
        """Return the rows of several lists."""
        return [row for value in values for row in value]

    def select(self, value: Any, rows: Tensor) -> Any:
        """Return some rows of a list."""
        return [value[row] for row in rows.tolist()]

    def _map(self, value: Any, function: Callable[[Tensor], Tensor]) -> Any:
        return value


def pad_to_longest(tensors: Sequence[Tensor], axis: int) -> list[Tensor]:
    """Return tensors padded at the end of an axis, with 0 or False, to the longest."""
    longest = max(tensor.shape[axis] for tensor in tensors)
    padded = []
    for tensor in tensors:
        sizes = list(tensor.shape)
        sizes[axis] = longest - tensor.shape[axis]
        padded.append(torch.cat([tensor, tensor.new_zeros(sizes)], dim=axis) if sizes[axis] else tensor)
    return padded
