"""Pixels in memory in the place of a file: arrays, tensors, and images of Pillow.

The module does not import torch: the command line checks the names of images before it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

import numpy as np
from PIL import Image

from mplug2.data.packed_file import MediaFile

if TYPE_CHECKING:
    from torch import Tensor

PixelValues = Union[np.ndarray, "Tensor", Image.Image]
LAYOUTS = {
    "image": "a numpy array [H W 3] or [H W], or a tensor [3 H W] or [1 H W]",
    "video": "a numpy array [T H W 3] or a tensor [T 3 H W]",
}
VALUES = "uint8 of 0..255, or floating point of 0..1"


@dataclass(frozen=True, eq=False)
class PixelFile:
    """Pixels that a caller has; readers take them in the place of a file, and convert what they need of them.

    ``values``: an image of Pillow; a numpy array [H W 3], [H W] or [T H W 3]; or a tensor [3 H W], [1 H W] or
    [T 3 H W]. Each holds uint8 of 0..255 or floating point of 0..1. They are not copied.
    """

    name: str
    values: PixelValues

    def __str__(self) -> str:
        return self.name

    @property
    def size(self) -> tuple[int, int, int]:
        """The number of frames (1 for an image), the height and the width."""
        if isinstance(self.values, Image.Image):
            return 1, self.values.height, self.values.width
        shape = tuple(self.values.shape)
        frames = shape[0] if len(shape) == 4 else 1
        if isinstance(self.values, np.ndarray):
            height, width = shape[:2] if len(shape) < 4 else shape[1:3]
            return frames, height, width
        return frames, shape[-2], shape[-1]

    def take(self, indices: Sequence[int]) -> np.ndarray:
        """Return the frames [N H W 3] uint8 with these numbers; 0 is that of an image.

        Raises ValueError for values that are not `VALUES`. Only these frames are copied.
        """
        assert not isinstance(
            self.values, Image.Image
        )  # the reader of images converts it
        values = self.values
        is_video = values.ndim == 4
        if isinstance(values, np.ndarray):
            pixels = values[list(indices)] if is_video else values[None]
            pixels = pixels[..., None] if pixels.ndim == 3 else pixels
        else:
            chosen = (
                values.detach()[list(indices)] if is_video else values.detach()[None]
            )
            # NumPy has no bfloat16.
            chosen = chosen.float() if chosen.is_floating_point() else chosen
            pixels = chosen.permute(0, 2, 3, 1).cpu().numpy()
        pixels = _as_bytes(pixels)
        height, width = pixels.shape[1:3]
        return np.ascontiguousarray(
            np.broadcast_to(pixels, (len(pixels), height, width, 3))
        )


MediaValue = MediaFile | PixelFile


def check_layout(values: np.ndarray | Tensor, kind: str) -> str | None:
    """Return what is wrong with the axes or the type of an array for a ``kind`` of media, or None."""
    shape = tuple(values.shape)
    if isinstance(values, np.ndarray):
        is_real = np.issubdtype(values.dtype, np.floating)
        fits = len(shape) == 4 and shape[3] == 3
        if kind == "image":
            fits = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
    else:
        is_real = values.is_floating_point()
        fits = len(shape) == 4 and shape[1] == 3
        if kind == "image":
            fits = len(shape) == 3 and shape[0] in (1, 3)
    is_byte = str(values.dtype) in ("uint8", "torch.uint8")
    if not fits or 0 in shape:
        return f"{LAYOUTS[kind]}, with no empty axis (got the shape {list(shape)})"
    if not (is_byte or is_real):
        return f"{VALUES} (got {values.dtype})"
    return None


def _as_bytes(pixels: np.ndarray) -> np.ndarray:
    """Return pixels as uint8; ValueError for real numbers outside 0..1."""
    if pixels.dtype == np.uint8:
        return pixels
    least, greatest = float(pixels.min()), float(pixels.max())
    # A comparison with NaN is false, so it is refused, too.
    if not (least >= 0 and greatest <= 1):
        raise ValueError(
            f"values must be {VALUES} (got {least:g} to {greatest:g}). Divide by 255, or give uint8"
        )
    return np.rint(pixels * 255).astype(np.uint8)
