"""The torch halves of kinds with padding: masks, text, hidden states, image regions and generated sequences.

Rows of different lengths are joined with padding, and the masks follow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from modules.kinds import BoxValues, TensorValues
from modules.streams import Regions, Sequences, Text, Tokens, full_mask

TEXT_LENGTH = 4  # ids in a blank or random sequence, with [CLS]
SMALL_VOCABULARY = 8  # random ids are below this


class MaskValues(TensorValues):
    """Booleans, True for an element that counts."""

    dtype = torch.bool

    def blank(self, sizes: Sequence[int], device: torch.device | str) -> Any:
        """Return a mask in which every element counts."""
        return torch.ones(list(sizes), dtype=self.dtype, device=device)

    def random(
        self, sizes: Sequence[int], generator: torch.Generator, count: int
    ) -> Any:
        """Return a mask in which the first element of each row counts, and half of the others."""
        mask = torch.rand(list(sizes), generator=generator) < 0.5
        # A row in which nothing counts would give NaN in most losses and attentions.
        mask[..., 0] = True
        return mask

    def concat(
        self, values: Sequence[Any], offsets: Sequence[int] | None = None
    ) -> Any:
        """Return the rows of several masks, padded with False to the longest."""
        # A mask of rows alone has no axis to pad.
        if values[0].ndim == 1:
            return torch.cat(list(values))
        return join_rows(values)


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
    dtype = torch.long  # of the ids

    def blank(self, sizes: Sequence[int], device: torch.device | str) -> Any:
        """Return a text of padding ids that all count."""
        ids = torch.zeros(list(sizes), dtype=torch.long, device=device)
        return Text(ids, torch.ones_like(ids, dtype=torch.bool))

    def random(
        self, sizes: Sequence[int], generator: torch.Generator, count: int
    ) -> Any:
        """Return ids of a small vocabulary; the last row ends in padding."""
        mask = torch.ones(list(sizes), dtype=torch.bool)
        # Some padding, so that the mask matters where random values test a network.
        mask[-1, -1] = False
        # Id 0 is padding; a small vocabulary fits any network.
        ids = torch.randint(1, SMALL_VOCABULARY, list(sizes), generator=generator)
        return Text(ids * mask, mask)

    def concat(
        self, values: Sequence[Any], offsets: Sequence[int] | None = None
    ) -> Any:
        """Return the rows of several texts, padded to the longest."""
        ids = join_rows([value.ids for value in values])
        mask = join_rows([value.mask for value in values])
        segments, word_start, parts = None, None, None
        if any(value.segments is not None for value in values):
            # A text without segments is one segment, number 0.
            segments = join_rows([_segments(value) for value in values])
        # Word starts do not follow from ids: without those of all texts there are none.
        if all(value.word_start is not None for value in values):
            word_start = join_rows([value.word_start for value in values])
        if any(value.parts is not None for value in values):
            parts = join_rows([_parts(value, value.ids) for value in values])
        return Text(ids, mask, segments, word_start, parts)


def _segments(text: Text) -> Tensor:
    return torch.zeros_like(text.ids) if text.segments is None else text.segments


def _parts(value: Text | Tokens, like: Tensor) -> Tensor:
    """Return the numbers of packed texts; a row of one text has the number 0."""
    if value.parts is None:
        return torch.zeros_like(like, dtype=torch.long)
    return value.parts


class TokenValues(TupleValues):
    """`Tokens`: hidden states and their padding mask, None if all of them count."""

    value_class = Tokens

    def blank(self, sizes: Sequence[int], device: torch.device | str) -> Any:
        """Return hidden states without padding."""
        return Tokens(torch.zeros(list(sizes), device=device))

    def random(
        self, sizes: Sequence[int], generator: torch.Generator, count: int
    ) -> Any:
        """Return normally distributed hidden states without padding."""
        return Tokens(torch.randn(list(sizes), generator=generator))

    def cast(self, value: Any, dtype: torch.dtype) -> Any:
        """Return hidden states in the network's precision."""
        if not isinstance(value, Tokens):
            return value
        return value._replace(values=value.values.to(dtype))

    def concat(
        self, values: Sequence[Any], offsets: Sequence[int] | None = None
    ) -> Any:
        """Return the rows of several streams, padded to the longest; the mask is None if none has padding."""
        states = join_rows([value.values for value in values])
        lengths = {value.values.shape[1] for value in values}
        parts = None
        if any(value.parts is not None for value in values):
            numbers = [_parts(value, value.values[..., 0]) for value in values]
            parts = join_rows(numbers)
        # Values of different lengths get padding, so they need a mask although each had none.
        if len(lengths) == 1 and all(value.mask is None for value in values):
            return Tokens(states, parts=parts)
        masks = [full_mask(value) for value in values]
        return Tokens(states, join_rows(masks), parts)


class RegionValues(TupleValues):
    """`Regions`: features of image regions, their boxes, and their padding mask, None if all count."""

    value_class = Regions

    def blank(self, sizes: Sequence[int], device: torch.device | str) -> Any:
        """Return features and boxes of zeros, without padding."""
        features = torch.zeros(list(sizes), device=device)
        return Regions(features, torch.zeros([*sizes[:-1], 4], device=device))

    def random(
        self, sizes: Sequence[int], generator: torch.Generator, count: int
    ) -> Any:
        """Return normally distributed features and valid boxes, without padding."""
        features = torch.randn(list(sizes), generator=generator)
        return Regions(features, BoxValues().random([*sizes[:-1], 4], generator, count))

    def cast(self, value: Any, dtype: torch.dtype) -> Any:
        """Return features in the network's precision; boxes keep theirs, float32 or float64."""
        if not isinstance(value, Regions):
            return value
        boxes = BoxValues().cast(value.boxes, dtype)
        return Regions(value.features.to(dtype), boxes, value.mask)

    def concat(
        self, values: Sequence[Any], offsets: Sequence[int] | None = None
    ) -> Any:
        """Return the rows of several values, padded to the most regions; the mask is None without padding."""
        features = join_rows([value.features for value in values])
        boxes = join_rows([value.boxes for value in values])
        lengths = {value.features.shape[1] for value in values}
        if len(lengths) == 1 and all(value.mask is None for value in values):
            return Regions(features, boxes)
        masks = [full_mask(Tokens(value.features, value.mask)) for value in values]
        return Regions(features, boxes, join_rows(masks))


class SequenceValues(TupleValues):
    """`Sequences`: token ids with scores. A port declares rows and sequences, but not their length."""

    value_class = Sequences

    def shape(self, value: Any) -> list[int]:
        """Return the number of rows and of sequences in each."""
        return list(value.ids.shape[:-1])

    def blank(self, sizes: Sequence[int], device: torch.device | str) -> Any:
        """Return sequences of padding ids with score 0."""
        # A port does not declare the length of sequences, so it is fixed here.
        ids = torch.zeros([*sizes, TEXT_LENGTH], dtype=torch.long, device=device)
        return Sequences(ids, torch.zeros(list(sizes), device=device))

    def random(
        self, sizes: Sequence[int], generator: torch.Generator, count: int
    ) -> Any:
        """Return ids of a small vocabulary with negative scores, best first."""
        ids = torch.randint(
            1, SMALL_VOCABULARY, [*sizes, TEXT_LENGTH], generator=generator
        )
        scores = -torch.rand(list(sizes), generator=generator)
        return Sequences(ids, scores.sort(dim=-1, descending=True).values)

    def concat(
        self, values: Sequence[Any], offsets: Sequence[int] | None = None
    ) -> Any:
        """Return the rows of several values, padded to the longest sequence; ValueError if fields differ."""
        fields: dict[str, Tensor | None] = {}
        for name in Sequences._fields:
            parts = [getattr(value, name) for value in values]
            missing = sum(part is None for part in parts)
            if 0 < missing < len(parts):
                message = f"`{name}` of sequences must be set in all values or in none"
                raise ValueError(message)
            if missing:
                fields[name] = None
            # (batch, best, length): only these two have the axis of tokens.
            elif name in ("ids", "logprobs"):
                fields[name] = torch.cat(pad_to_longest(parts, axis=2))
            else:
                fields[name] = torch.cat(parts)
        return Sequences(**fields)  # type: ignore[arg-type]


def join_rows(tensors: Sequence[Tensor]) -> Tensor:
    """Return the rows of several tensors, the second axis padded to the longest."""
    return torch.cat(pad_to_longest(tensors, axis=1))


def pad_to_longest(tensors: Sequence[Tensor], axis: int) -> list[Tensor]:
    """Return tensors padded at the end of an axis, with 0 or False, to the longest."""
    longest = max(tensor.shape[axis] for tensor in tensors)
    padded = []
    for tensor in tensors:
        sizes = list(tensor.shape)
        sizes[axis] = longest - tensor.shape[axis]
        # Most batches need no padding: their tensors are not copied.
        if sizes[axis]:
            tensor = torch.cat([tensor, tensor.new_zeros(sizes)], dim=axis)
        padded.append(tensor)
    return padded
