"""Tensors of another size than a network has: position tables and patch kernels that can be resized.

A resize takes a tensor and the network's. It returns the resized tensor and a note for the report, or None if
it does not apply to these shapes; ValueError: it applies, but cannot be done. Resizes have no inverse.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def resize_positions(
    position: Float[Tensor, "one old width"], tokens: int, mode: str = "bilinear"
) -> Float[Tensor, "one tokens width"]:
    """Return positional embeddings of another square grid: class row kept, the rest interpolated.

    Released rules (align_corners off): ``bilinear`` for CLIP, ``bicubic`` for BEiT and VLMo. ValueError if
    one of the grids is not square.
    """
    import torch
    from torch.nn import functional as F

    cls, grid = position[:, :1], position[:, 1:]
    old, new = math.isqrt(grid.shape[1]), math.isqrt(tokens - 1)
    if old * old != grid.shape[1] or new * new != tokens - 1:
        raise ValueError(
            f"grids must be square, but hold {grid.shape[1]} and {tokens - 1} patches"
        )
    # (1, old * old, width) -> (1, width, old, old) -> (1, new * new, width)
    image = grid.transpose(1, 2).unflatten(2, (old, old))
    image = F.interpolate(image, size=(new, new), mode=mode, align_corners=False)
    return torch.cat([cls, image.flatten(2).transpose(1, 2)], dim=1)


def grid_positions(value: Tensor, target: Tensor) -> tuple[Tensor, str] | None:
    """Resize the positions of a square grid of patches, (1, 1 + patches, width)."""
    if value.ndim != 3 or value.shape[-1] != target.shape[-1]:
        return None
    resized = resize_positions(value.float(), target.shape[1])
    return resized, f"{value.shape[1]} positions to {target.shape[1]}"


def grid_positions_cubic(value: Tensor, target: Tensor) -> tuple[Tensor, str] | None:
    """Resize the positions of a square grid of patches by bicubic interpolation, (1, 1 + patches, width)."""
    if value.ndim != 3 or value.shape[-1] != target.shape[-1]:
        return None
    resized = resize_positions(value.float(), target.shape[1], "bicubic")
    return resized, f"{value.shape[1]} positions to {target.shape[1]}"


def first_rows(value: Tensor, target: Tensor) -> tuple[Tensor, str] | None:
    """Keep the first rows of a longer table of positions, (positions, width)."""
    if value.shape[1:] != target.shape[1:] or len(value) <= len(target):
        return None
    return value[: len(target)], f"the first {len(target)} of {len(value)} positions"


def repeat_last_row(value: Tensor, target: Tensor) -> tuple[Tensor, str] | None:
    """Add rows to a table of types, (types, width), each a copy of its last one."""
    import torch

    if (
        value.ndim != 2
        or value.shape[1:] != target.shape[1:]
        or not 0 < len(value) < len(target)
    ):
        return None
    added = value[-1:].expand(len(target) - len(value), -1)
    return torch.cat(
        [value, added]
    ), f"{len(value)} types to {len(target)}: copies of the last"


def tubes(value: Tensor, target: Tensor) -> tuple[Tensor, str] | None:
    """Make kernels of three frames from kernels of one: CLIP's kernel in the middle, zeros around it."""
    import torch

    if (
        value.ndim != 4
        or target.ndim != 5
        or value.shape != target.shape[:2] + target.shape[3:]
    ):
        return None
    kernels = torch.zeros(target.shape, dtype=value.dtype)
    kernels[:, :, target.shape[2] // 2] = value
    return kernels, "patches to tubes: the middle frame counts"
