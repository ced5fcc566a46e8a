"""Decoded frames and images to what a vision encoder takes: resized, augmented, normalised."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mplug2.data.media.image import resize
from mplug2.data.media.randaugment import IMAGE_NAMES, rand_augment

Augment = Literal["none", "crop", "full"]
# Which of a sample a random horizontal flip mirrors. The released recipes mirror pixels and leave the text.
Flip = Literal["none", "media", "media_and_text"]

# Of the released recipes: the crops' fraction of the area, and the strength M of RandAugment.
CROP_SCALE = (0.5, 1.0)
VIDEO_LEVEL = 5
IMAGE_LEVEL = 7

Channels = tuple[float, float, float]  # red, green, blue

# Statistics of CLIP's training images.
CLIP_MEAN: Channels = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Channels = (0.26862954, 0.26130258, 0.27577711)


def normalise(
    clip: Tensor, mean: Channels = CLIP_MEAN, std: Channels = CLIP_STD
) -> Tensor:
    """Return uint8 or float frames [T 3 H W] of 0..255 as float32 [3 T H W]: (values / 255 - mean) / std."""
    means = torch.tensor(mean).view(3, 1, 1, 1)
    deviations = torch.tensor(std).view(3, 1, 1, 1)
    # (T, 3, H, W) -> (3, T, H, W)
    return (clip.transpose(0, 1).float() / 255 - means) / deviations


def resize_nearest(frames: np.ndarray, size: int) -> np.ndarray:
    """Return frames [T H W 3] resized to a square of ``size`` pixels, equal to torch's `nearest`."""
    height, width = frames.shape[1:3]
    if (height, width) == (size, size):
        return frames
    rows, columns = _nearest_positions(height, size), _nearest_positions(width, size)
    return frames[:, rows[:, None], columns]


def _nearest_positions(length: int, size: int) -> np.ndarray:
    """Return the pixel of ``length`` that each of ``size`` pixels is taken from."""
    # torch multiplies in single precision: for some lengths, double precision ends one pixel further.
    scale = np.float32(length) / np.float32(size)
    positions = np.floor(np.arange(size, dtype=np.float32) * scale).astype(int)
    return positions.clip(max=length - 1)


def resize_bicubic(clip: Tensor, size: int) -> Tensor:
    """Return frames [T 3 H W] (0..255) resized to a square, truncated to integers as in the released code.

    The released code lets overshoot wrap around in uint8 (280 becomes 24, bright specks on edges); here it is
    clipped.
    """
    shape = (size, size)
    resized = F.interpolate(
        clip.float(), size=shape, mode="bicubic", align_corners=False
    )
    return resized.trunc().clamp(0, 255)


def eval_transform(
    frames: np.ndarray, size: int, mean: Channels = CLIP_MEAN, std: Channels = CLIP_STD
) -> Tensor:
    """Return uint8 frames [T H W 3] as float32 [3 T size size], the transform of the released evaluation."""
    resized = torch.from_numpy(resize_nearest(frames, size))
    # (T, H, W, 3) -> (T, 3, H, W)
    return normalise(resized.permute(0, 3, 1, 2), mean, std)


def random_box(
    height: int,
    width: int,
    rng: np.random.Generator,
    scale: tuple[float, float] = CROP_SCALE,
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> tuple[int, int, int, int]:
    """Return (top, left, height, width) of a random crop of ``scale`` of the area; the widest central one if
    none fits."""
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        # By the logarithm: 3:4 is as likely as 4:3.
        shape = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < w <= width and 0 < h <= height:
            top = int(rng.integers(0, height - h + 1))
            left = int(rng.integers(0, width - w + 1))
            return top, left, h, w
    # The shape of the frame allows no such crop, or chance has not found one.
    w = min(width, round(height * ratio[1]))
    h = min(height, round(width / ratio[0]))
    return (height - h) // 2, (width - w) // 2, h, w


def train_transform(
    frames: np.ndarray,
    size: int,
    augment: Augment,
    rng: np.random.Generator,
    mean: Channels = CLIP_MEAN,
    std: Channels = CLIP_STD,
    scale: tuple[float, float] = CROP_SCALE,
    level: int = VIDEO_LEVEL,
) -> Tensor:
    """Return uint8 frames [T H W 3] as float32 [3 T size size], with the same augmentation in every frame of
    the clip.

    ``none`` equals `eval_transform`; ``crop`` takes a random resized crop of ``scale`` of the area; ``full``
    adds RandAugment N=2 M=5, or of another ``level`` M (the released training of mPLUG-2 on videos, which
    also mirrors: see `flip` of the source).
    """
    if augment == "none":
        return eval_transform(frames, size, mean, std)
    top, left, height, width = random_box(frames.shape[1], frames.shape[2], rng, scale)
    crop = torch.from_numpy(frames[:, top : top + height, left : left + width])
    # (T, H, W, 3) -> (T, 3, H, W)
    clip = resize_bicubic(crop.permute(0, 3, 1, 2), size)
    if augment == "full":
        clip = rand_augment(clip, rng, level=level)
    elif augment != "crop":
        raise ValueError(
            f"augment must be 'none', 'crop' or 'full', but is {augment!r}"
        )
    return normalise(clip, mean, std)


def eval_picture(
    pixels: np.ndarray, size: int, mean: Channels = CLIP_MEAN, std: Channels = CLIP_STD
) -> Tensor:
    """Return a uint8 image [H W 3] as float32 [3 size size], resized to the square by antialiased bicubic
    interpolation (the released evaluation of mPLUG)."""
    return eval_transform(resize(pixels, size, size)[None], size, mean, std)[:, 0]


def train_picture(
    pixels: np.ndarray,
    size: int,
    augment: Augment,
    rng: np.random.Generator,
    mean: Channels = CLIP_MEAN,
    std: Channels = CLIP_STD,
    scale: tuple[float, float] = CROP_SCALE,
    level: int = IMAGE_LEVEL,
) -> Tensor:
    """Return a uint8 image [H W 3] as float32 [3 size size], augmented as mPLUG's released training does it.

    ``none`` equals `eval_picture`; ``crop`` takes a random crop of ``scale`` of its area, resized as there;
    ``full`` adds RandAugment N=2 M=7 (or another ``level`` M) over its own operations, of which each is left
    out once in two (as in ALBEF, whose code mPLUG builds on).
    """
    if augment == "none":
        return eval_picture(pixels, size, mean, std)
    top, left, height, width = random_box(pixels.shape[0], pixels.shape[1], rng, scale)
    part = np.ascontiguousarray(pixels[top : top + height, left : left + width])
    crop = resize(part, size, size)
    # An image is a clip of one frame: (H, W, 3) -> (1, 3, H, W)
    clip = torch.from_numpy(crop[None]).permute(0, 3, 1, 2)
    if augment == "full":
        clip = rand_augment(clip, rng, level=level, names=IMAGE_NAMES, chance=0.5)
    elif augment != "crop":
        raise ValueError(
            f"augment must be 'none', 'crop' or 'full', but is {augment!r}"
        )
    return normalise(clip, mean, std)[:, 0]
