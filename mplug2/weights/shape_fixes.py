"""A stored tensor in the shape that a network wants."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def resize_positions(
    position: Float[Tensor, "one old width"], tokens: int
) -> Float[Tensor, "one tokens width"]:
    """Positional embeddings for another square grid: class row kept, the rest interpolated bilinearly.

    Released rule (align_corners off); ValueError where either grid is not square.
    """
    cls, grid = position[:, :1], position[:, 1:]
    old, new = math.isqrt(grid.shape[1]), math.isqrt(tokens - 1)
    if old * old != grid.shape[1] or new * new != tokens - 1:
        raise ValueError(f"grids must be square, but hold {grid.shape[1]} and {tokens - 1} patches")
    # (1, old * old, width) -> (1, width, old, old) -> (1, new * new, width)
    image = grid.transpose(1, 2).unflatten(2, (old, old))
    image = F.interpolate(image, size=(new, new), mode="bilinear", align_corners=False)
    return torch.cat([cls, image.flatten(2).transpose(1, 2)], dim=1)


def fit(name: str, value: Tensor, target: Tensor) -> tuple[Tensor | None, str]:
    """``value`` in the shape of ``target`` and, where it was resized, how; (None, why) if it cannot fit."""
    if value.shape == target.shape:
        return value, ""
    refused = f"file has {list(value.shape)}, network has {list(target.shape)}"
    if name.endswith(".kernel") and value.ndim == 5:
        turned = value.flatten(1).T  # depthwise conv (channels, 1, 3, 1, 1) -> (3, channels)
        return (turned, "") if turned.shape == target.shape else (None, refused)
    if name.endswith("stem.position"):
        value = value.reshape(1, -1, value.shape[-1])
        if value.shape == target.shape:
            return value, ""
        if value.shape[-1] == target.shape[-1]:
            try:
                resized = resize_positions(value.float(), target.shape[1])
            except ValueError as error:
                return None, str(error)
            return resized, f"{value.shape[1]} positions to {target.shape[1]}"
    if name.endswith("position.weight") and value.shape[1:] == target.shape[1:] and len(value) > len(target):
        return value[: len(target)], f"the first {len(target)} of {len(value)} positions"
    if name.endswith("stem.patch.proj.weight") and value.ndim == 4 and target.ndim == 5:
        # a frame's patches to tubes of three: what CLIP makes of the middle one, to begin with
        tubes = torch.zeros(target.shape, dtype=value.dtype)
        if value.shape == tubes[:, :, 1].shape:
            tubes[:, :, 1] = value
            return tubes, "patches to tubes: the middle frame counts"
    if [n for n in value.shape if n != 1] == [n for n in target.shape if n != 1]:
        return value.reshape(target.shape), ""
    return None, refused
