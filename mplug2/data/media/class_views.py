"""What a network of classes sees of a file: one augmented view in training, several plain ones at test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mplug2.data.arguments import ArgumentError, at_least
from mplug2.data.media.folder import MediaFolder
from mplug2.data.media.frames import (
    dense_clip,
    frame_indices,
    last_dense_start,
    uniform_clip,
)
from mplug2.data.media.transforms import eval_picture, eval_transform

FrameSampling = Literal["uniform", "dense"]


@dataclass(frozen=True)
class ClassViews:
    """The clips and crops of a file at test, and how frames are chosen in training.

    ``uniform`` takes one frame in each of T equal intervals, ``dense`` every ``frame_stride``-th of a part.
    A test has ``clips`` x ``crops`` views, in this order. ``crops: 0`` squeezes the complete frame into the
    square; 1 takes the centre, 3 the start, centre and end of the longer side, after the shorter one was
    resized to size / ``crop_fraction``.
    """

    sampling: FrameSampling = "uniform"
    frame_stride: int = 1
    clips: int = 1
    crops: Literal[0, 1, 3] = 0
    crop_fraction: float = 1.0

    def __post_init__(self) -> None:
        at_least(1, frame_stride=self.frame_stride, clips=self.clips)
        if not 0 < self.crop_fraction <= 1:
            message = f"crop_fraction must be more than 0 and at most 1, but is {self.crop_fraction}"
            raise ArgumentError("crop_fraction", message)

    @property
    def number(self) -> int:
        """The number of views of a file at test."""
        return self.clips * max(self.crops, 1)

    @property
    def middle(self) -> int:
        """The view in the middle of time and of the frame."""
        num_crops = max(self.crops, 1)
        return self.clips // 2 * num_crops + num_crops // 2

    def train_frames(
        self, total: int, count: int, rng: np.random.Generator
    ) -> list[int]:
        """Return the frames of a random clip."""
        if self.sampling == "uniform":
            return frame_indices(total, count, "random", rng)
        start = int(rng.integers(last_dense_start(total, count, self.frame_stride) + 1))
        return dense_clip(total, count, self.frame_stride, start)

    def test_frames(self, total: int, count: int, clip: int) -> list[int]:
        """Return the frames of a clip: of several dense ones the first starts first, the last ends last."""
        if self.sampling == "uniform":
            return uniform_clip(total, count, clip, self.clips)
        last = last_dense_start(total, count, self.frame_stride)
        start = last // 2 if self.clips == 1 else round(last * clip / (self.clips - 1))
        return dense_clip(total, count, self.frame_stride, start)

    def read(self, media: MediaFolder, name: str, numbers: Sequence[int]) -> Tensor:
        """Return the views of the given numbers, normalized: [views 3 T H W], or [views 3 H W] of an image.

        A video is decoded once for all of them.
        """
        num_crops = max(self.crops, 1)
        file = media.file(name)
        if media.kind == "image":
            pixels = media.picture(file)[None]
            crops = []
            for number in numbers:
                # (3, 1, size, size) -> (3, size, size)
                crops.append(self._crop(media, pixels, number % num_crops)[:, 0])
            return torch.stack(crops)
        clips = [number // num_crops for number in numbers]
        lengths: list[int] = []

        def choose(total: int) -> list[int]:
            lengths.append(total)
            frames = [self.test_frames(total, media.frames, clip) for clip in clips]
            # Clips may share frames: each is decoded once.
            return sorted(set().union(*frames))

        frames = media.frames_of(file, choose)
        # A damaged file is decoded twice: the second length is the true one.
        total = lengths[-1]
        read = choose(total)
        views = []
        for number, clip in zip(numbers, clips, strict=True):
            rows = np.searchsorted(read, self.test_frames(total, media.frames, clip))
            views.append(self._crop(media, frames[rows], number % num_crops))
        return torch.stack(views)

    def _crop(self, media: MediaFolder, frames: np.ndarray, crop: int) -> Tensor:
        """Return frames [T H W 3] as one normalized crop [3 T size size]."""
        if self.crops == 0 and media.kind == "image":
            return eval_picture(frames[0], media.size, media.mean, media.std)[:, None]
        if self.crops == 0:
            return eval_transform(frames, media.size, media.mean, media.std)
        clip = resize_shorter_side(frames, round(media.size / self.crop_fraction))
        height, width = clip.shape[-2:]
        top, left = (height - media.size) // 2, (width - media.size) // 2
        if self.crops == 3 and height > width:
            top = (height - media.size) * crop // 2
        elif self.crops == 3:
            left = (width - media.size) * crop // 2
        crop_pixels = clip[..., top : top + media.size, left : left + media.size]
        return media.normalize(crop_pixels)


def resize_shorter_side(frames: np.ndarray, size: int) -> Tensor:
    """Return frames [T H W 3] as [T 3 h w] of 0..255 whose shorter side is ``size``, proportions kept."""
    height, width = frames.shape[1:3]
    scale = size / min(height, width)
    shape = (max(size, round(height * scale)), max(size, round(width * scale)))
    clip = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    resized = F.interpolate(
        clip, size=shape, mode="bicubic", align_corners=False, antialias=True
    )
    return resized.round().clamp(0, 255)
