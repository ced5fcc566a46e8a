"""Augmentation of images and videos for networks of classes: crops, RandAugment, flips, random erasing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mplug2.data.arguments import ArgumentError, at_least
from mplug2.data.media.class_views import ClassViews
from mplug2.data.media.folder import MediaFolder
from mplug2.data.media.randaugment import LEVELS
from mplug2.data.media.transforms import (
    IMAGE_LEVEL,
    VIDEO_LEVEL,
    random_box,
    train_picture,
    train_transform,
)

# Of the erased box: fraction of the area, and height to width (arXiv 1708.04896, as timm's defaults).
ERASED_SCALE = (0.02, 1 / 3)
ERASED_RATIO = (0.3, 1 / 0.3)


@dataclass(frozen=True)
class ClassAugmentation:
    """How a file is augmented in training; the source's `augment` selects crops and RandAugment.

    ``level`` is the strength of RandAugment, None that of the released recipes. ``flip`` mirrors one file in
    two. ``erase`` is the probability that a box is filled with noise, the same box in all frames.
    """

    crop_scale: tuple[float, float]
    level: int | None = None
    flip: bool = False
    erase: float = 0.0

    def __post_init__(self) -> None:
        at_least(0, rand_augment_level=self.level)
        if self.level is not None and self.level > LEVELS:
            message = f"rand_augment_level must be 0 to {LEVELS}, but is {self.level}"
            raise ArgumentError("rand_augment_level", message)
        if not 0 <= self.erase <= 1:
            raise ArgumentError("erase", f"erase must be 0 to 1, but is {self.erase}")

    def read(
        self, media: MediaFolder, name: str, views: ClassViews, rng: np.random.Generator
    ) -> Tensor:
        """Return one augmented view of a file, normalized: [3 T H W] or [3 H W]."""
        file = media.file(name)
        pixel_settings = (media.size, media.augment, rng, media.mean, media.std)
        settings = (*pixel_settings, self.crop_scale)
        if media.kind == "image":
            level = IMAGE_LEVEL if self.level is None else self.level
            pixels = train_picture(media.picture(file), *settings, level)
        else:
            seed = int(rng.integers(2**63))

            # It may be called twice, and must choose the same frames: it has its own generator.
            def choose(total: int) -> list[int]:
                generator = np.random.default_rng(seed)
                return views.train_frames(total, media.frames, generator)

            frames = media.frames_of(file, choose)
            level = VIDEO_LEVEL if self.level is None else self.level
            pixels = train_transform(frames, *settings, level)
        if self.flip and rng.random() < 0.5:
            pixels = pixels.flip(-1)
        if rng.random() < self.erase:
            pixels = erase_box(pixels, rng)
        return pixels


def erase_box(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Return normalized pixels [... H W] with a random box of normal noise (timm's ``mode='pixel'``)."""
    height, width = pixels.shape[-2:]
    top, left, box_height, box_width = random_box(
        height, width, rng, ERASED_SCALE, ERASED_RATIO
    )
    noise = rng.standard_normal(
        (*pixels.shape[:-2], box_height, box_width), dtype=np.float32
    )
    erased = pixels.clone()
    erased[..., top : top + box_height, left : left + box_width] = torch.from_numpy(
        noise
    )
    return erased


def checked_scale(scale: Sequence[float]) -> tuple[float, float]:
    """Return the smallest and the largest fraction of the area; raise ArgumentError for another range."""
    if len(scale) != 2 or not 0 < scale[0] <= scale[1] <= 1:
        message = f"crop_scale must be two fractions of the area, such as [0.08, 1.0], but is {list(scale)}"
        raise ArgumentError("crop_scale", message)
    return float(scale[0]), float(scale[1])
