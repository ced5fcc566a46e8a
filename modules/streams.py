"""The values that flow between modules: a value and its mask travel together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Text(NamedTuple):
    """Token ids with their padding mask (True where a token is real).

    ``segments``: the segment of each token, as BERT's token type ids: 0 for the first sentence, 1 for the
    second. None means that all tokens are in segment 0. ``word_start``: True where a token begins a word,
    False where it continues one or is padding. None where the task does not supply it. ``parts``: where
    several texts are packed into a row, the number of each token's text in it, and 0 for padding; such texts
    must not see each other, and their positions begin at 0. None where each row is one text.
    """

    ids: Int[Tensor, "batch length"]
    mask: Bool[Tensor, "batch length"]
    segments: Int[Tensor, "batch length"] | None = None
    word_start: Bool[Tensor, "batch length"] | None = None
    parts: Int[Tensor, "batch length"] | None = None


class Tokens(NamedTuple):
    """Hidden states with their padding mask; ``mask=None`` means that every position is valid.

    ``parts``: the numbers of the texts that are packed into a row, as in `Text`.
    """

    values: Float[Tensor, "batch length width"]
    mask: Bool[Tensor, "batch length"] | None = None
    parts: Int[Tensor, "batch length"] | None = None


class Regions(NamedTuple):
    """Features of image regions with their boxes and padding mask; ``mask=None``: every region is valid.

    ``boxes``: left, top, right, bottom as fractions of the image.
    """

    features: Float[Tensor, "batch regions width"]
    boxes: Float[Tensor, "batch regions 4"]
    mask: Bool[Tensor, "batch regions"] | None = None


class Sequences(NamedTuple):
    """Generated or ranked token ids, best first, each row starting with [CLS] and padded with 0.

    ``logprobs``: the decoder's log-probability of each id, 0 for [CLS] and padding; None where not computed.
    ``lengths``: how many ids were written after [CLS] (0 may be one of them); None where all are, or all up
    to the word that ends a text.
    """

    ids: Int[Tensor, "batch best length"]
    scores: Float[Tensor, "batch best"]
    logprobs: Float[Tensor, "batch best length"] | None = None
    lengths: Int[Tensor, "batch best"] | None = None


def full_mask(tokens: Tokens) -> Bool[Tensor, "batch length"]:
    """The mask of ``tokens`` as a tensor; ``None`` means that all are valid."""
    if tokens.mask is not None:
        return tokens.mask
    # (batch, length, width) -> (batch, length)
    return torch.ones_like(tokens.values[..., 0], dtype=torch.bool)


def join_masks(*parts: Tokens) -> Bool[Tensor, "batch total"] | None:
    """The mask of ``parts`` concatenated; ``None`` if every position of every part is valid."""
    # None stays None: attention without a mask is faster.
    if all(part.mask is None for part in parts):
        return None
    return torch.cat([full_mask(part) for part in parts], dim=1)


def map_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Return a value with a function applied to the tensors in tuples, lists, mappings and dataclasses."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, (list, tuple)):
        items = [map_tensors(item, function) for item in value]
        # A named tuple takes its fields one by one, a plain tuple or list all in one argument.
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        return {key: map_tensors(item, function) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        mapped = {}
        for field in dataclasses.fields(value):
            # `replace` refuses fields that the constructor does not take.
            if field.init:
                mapped[field.name] = map_tensors(getattr(value, field.name), function)
        return dataclasses.replace(value, **mapped)
    return value


def to_device(value: Any, device: torch.device | str) -> Any:
    """Return a value with its tensors on ``device``; anything else passes unchanged."""
    return map_tensors(value, lambda tensor: tensor.to(device, non_blocking=True))


def detach(value: Any) -> Any:
    """Return a value through which no gradient flows."""
    return map_tensors(value, Tensor.detach)
