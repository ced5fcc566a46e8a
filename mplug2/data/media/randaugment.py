"""RandAugment: randomly drawn operations on an image, or the same ones on every frame of a clip.

The sets of operations and their strengths are the released recipes: mPLUG-2's of videos (at M=5 contrast,
brightness and sharpness have factor 1 and change nothing) and mPLUG's of images. Affine operations
interpolate as OpenCV does: places rounded to 1/32 pixel, grey 128 outside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

_GREY = 128.0
LEVELS = 10
_MAX_SHEAR = 0.3
_MAX_SHIFT = 10.0  # pixels
_MAX_TURN = 30.0  # degrees

_BOTH = (
    "Brightness",
    "Sharpness",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
)
NAMES = ("Identity", "Contrast", *_BOTH, "HorizontalFlip")
IMAGE_NAMES = ("Identity", "AutoContrast", "Equalize", *_BOTH)


def rand_augment(
    clip: Tensor,
    rng: np.random.Generator,
    number: int = 2,
    level: int = 5,
    names: Sequence[str] = NAMES,
    chance: float = 1.0,
) -> Tensor:
    """Return a clip [T 3 H W] of integers 0..255 after ``number`` random operations of strength
    ``level`` of 10, each of which is left out but for a ``chance``."""
    for name in rng.choice(names, number):
        if chance < 1 and rng.random() > chance:
            continue
        sign = -1.0 if rng.random() < 0.5 else 1.0
        clip = apply(str(name), clip, level, sign)
    return clip


def apply(name: str, clip: Tensor, level: int = 5, sign: float = 1.0) -> Tensor:
    """Return a clip [T 3 H W] after the named operation; ``sign`` turns shears, shifts and rotations
    around."""
    part = level / LEVELS
    height, width = clip.shape[-2:]
    if name == "Identity":
        return clip
    if name == "HorizontalFlip":
        return clip.flip(-1)
    if name in ("Contrast", "Brightness", "Sharpness"):
        factor = part * 1.8 + 0.1
        return clip if factor == 1.0 else _blend(_blank(name, clip), clip, factor)
    if name == "ShearX":
        return _affine(clip, [[1, sign * part * _MAX_SHEAR, 0], [0, 1, 0]])
    if name == "ShearY":
        return _affine(clip, [[1, 0, 0], [sign * part * _MAX_SHEAR, 1, 0]])
    if name == "TranslateX":
        return _affine(clip, [[1, 0, -sign * part * _MAX_SHIFT], [0, 1, 0]])
    if name == "TranslateY":
        return _affine(clip, [[1, 0, 0], [0, 1, -sign * part * _MAX_SHIFT]])
    if name == "Rotate":
        turn = math.radians(sign * part * _MAX_TURN)
        c, s, x, y = math.cos(turn), math.sin(turn), width / 2, height / 2
        return _affine(
            clip, [[c, s, (1 - c) * x - s * y], [-s, c, s * x + (1 - c) * y]]
        )
    if name in ("AutoContrast", "Equalize"):
        return torch.stack([_toned(name, frame) for frame in clip])
    known = ", ".join(dict.fromkeys(NAMES + IMAGE_NAMES))
    raise ValueError(f"the operation must be one of {known}, but is {name!r}")


def _toned(name: str, frame: Tensor) -> Tensor:
    """A frame [3 H W] whose channels each reach from 0 to 255, or have every value about equally often."""
    tone = ImageOps.autocontrast if name == "AutoContrast" else ImageOps.equalize
    picture = Image.fromarray(frame.permute(1, 2, 0).byte().numpy())
    return torch.from_numpy(np.array(tone(picture))).permute(2, 0, 1).to(frame.dtype)


def _blank(name: str, clip: Tensor) -> Tensor:
    """What factor 0 of a colour operation makes of a clip: a mean grey, black, or a smoothed clip."""
    clip = clip.float()
    if name == "Brightness":
        return torch.zeros_like(clip)
    if name == "Contrast":
        # The brightness of red, green and blue (ITU-R BT.601).
        weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
        grey = (clip * weights).sum(1, keepdim=True)
        # (T, 1, 1, 1): one mean for each frame
        mean = grey.mean((2, 3), keepdim=True).round()
        return mean.expand_as(clip)
    kernel = (
        torch.tensor([[1.0, 1, 1], [1, 5, 1], [1, 1, 1]]).div(13).expand(3, 1, 3, 3)
    )
    smooth = clip.clone()
    smooth[..., 1:-1, 1:-1] = F.conv2d(clip, kernel, groups=3)
    return smooth


def _blend(blank: Tensor, clip: Tensor, factor: float) -> Tensor:
    return (blank + (clip.float() - blank) * factor).round().clamp(0, 255)


def _affine(clip: Tensor, matrix: list[list[float]]) -> Tensor:
    """Return a clip whose pixel (x, y) moved to ``matrix`` @ (x, y, 1)."""
    height, width = clip.shape[-2:]
    back = np.linalg.inv(np.array([*matrix, [0, 0, 1]], dtype=np.float64))
    x = torch.arange(width, dtype=torch.float64)
    y = torch.arange(height, dtype=torch.float64)

    def places(row: np.ndarray) -> Tensor:
        # 10 binary digits per term, then rounded to the 5 that OpenCV interpolates with.
        start = torch.round((row[1] * y + row[2]) * 1024) + 16
        return torch.floor((start[:, None] + torch.round(row[0] * x * 1024)) / 32) / 32

    # Pixels to the range of -1 to 1 that `grid_sample` expects, from edge to edge.
    grid_x = (2 * places(back[0]) + 1) / width - 1
    grid_y = (2 * places(back[1]) + 1) / height - 1
    # (H, W, 2) -> (T, H, W, 2)
    grid = torch.stack([grid_x, grid_y], -1).float().expand(len(clip), -1, -1, -1)
    moved = F.grid_sample(
        # Zero outside of the image is then grey.
        clip.float() - _GREY,
        grid,
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    )
    return (moved + _GREY).round().clamp(0, 255)
