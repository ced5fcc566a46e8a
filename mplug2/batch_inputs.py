"""The inputs of a batch against the types that the network was built for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from modules.kinds import half
from registry import StreamType, UserError


def check_inputs(batch: Mapping[str, Any], inputs: Collection[str], types: Mapping[str, StreamType]) -> None:
    """Raise UserError for an input whose class or known sizes are not those of its type.

    Some networks would compute something from it, such as scores from fewer frames than they have positions
    for. Axes that have a name in the type may be of any size.
    """
    for name, value in batch.items():
        declared = types.get(name)
        if name not in inputs or declared is None:
            continue
        kind = half(declared.kind)
        if not isinstance(value, kind.value_class):
            raise UserError(
                f"input '{name}' must be a {kind.value_class.__name__} for '{declared}', but is of the class "
                f"{type(value).__name__}"
            )
        sizes = kind.shape(value)
        if not _fits(sizes, declared):
            raise UserError(f"input '{name}' must be '{declared}', but the batch has {sizes}")


def _fits(sizes: list[int], declared: StreamType) -> bool:
    if len(sizes) != len(declared.axes):
        return False
    for size, axis in zip(sizes, declared.axes, strict=True):
        if isinstance(axis, int) and size != axis:
            return False
    return True
