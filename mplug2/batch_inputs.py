"""The inputs of a batch against the types that the network was built for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch

from modules.kinds import half
from registry import StreamType, UserError
from registry.errors import require


def check_inputs(
    batch: Mapping[str, Any], inputs: Collection[str], types: Mapping[str, StreamType]
) -> None:
    """Raise UserError for an input whose class or known sizes are not those of its type.

    Some networks would compute something from it, such as scores from fewer frames than they have positions
    for. Axes that have a name in the type may be of any size.
    """
    for name, value in batch.items():
        declared = types.get(name)
        if name not in inputs or declared is None:
            continue
        _check_class(name, value, declared)
        kind = half(declared.kind)
        if (
            getattr(kind, "dtype", None) == torch.long
            and kind.tensors(value)[0].is_floating_point()
        ):
            raise UserError(
                f"input '{name}' must hold integers for '{declared}', but holds real numbers"
            )
        sizes = kind.shape(value)
        if not _fits(sizes, declared):
            raise UserError(
                f"input '{name}' must be '{declared}', but the batch has {sizes}"
            )


def check_classes(batch: Mapping[str, Any], types: Mapping[str, StreamType]) -> None:
    """Raise UserError for a batch that is not a mapping, or a stream whose class is not that of its kind."""
    require(batch, Mapping, "a batch")
    for name, value in batch.items():
        if name in types:
            _check_class(name, value, types[name])


def in_words(error: Exception) -> str:
    """Return what a module or torch raised, as a clause about the values of a batch."""
    if isinstance(error, IndexError):
        return f"a token id, label or row number of the batch is out of range ({error})"
    return str(error)


def _check_class(name: str, value: Any, declared: StreamType) -> None:
    expected = half(declared.kind).value_class
    if not isinstance(value, expected):
        raise UserError(
            f"input '{name}' must be a {expected.__name__} for '{declared}', but is of the class "
            f"{type(value).__name__}"
        )


def _fits(sizes: list[int], declared: StreamType) -> bool:
    if len(sizes) != len(declared.axes):
        return False
    for size, axis in zip(sizes, declared.axes, strict=True):
        if isinstance(axis, int) and size != axis:
            return False
    return True
