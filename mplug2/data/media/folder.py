"""Videos and images of a folder, as a network takes them: found by name, decoded, augmented."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from os.path import isfile  # false, too, where a name is too long
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from mplug2.data.arguments import ArgumentError
from mplug2.data.media.frames import Sampling, frame_indices
from mplug2.data.media.image import MAX_PIXELS, ImageError, read_image
from mplug2.data.media.pixel_file import MediaValue
from mplug2.data.media.transforms import (
    CLIP_MEAN,
    CLIP_STD,
    Augment,
    Channels,
    eval_picture,
    eval_transform,
    normalise,
    resize_nearest,
    train_picture,
    train_transform,
)
from mplug2.data.media.video import Clip, Shrink, read_frames
from mplug2.data.media.video_file import Limits, Scan, VideoError, scan_video
from mplug2.data.packed_file import PackedFileError
from registry.errors import UserError

if TYPE_CHECKING:
    from registry import StreamType

UNREADABLE = (VideoError, ImageError, PackedFileError)
# What is looked for where an annotation names a file without its suffix.
SUFFIXES = {
    "frames": (".mp4", ".avi", ".webm", ".mkv", ".mov", ".gif"),
    "image": (".jpg", ".png", ".jpeg", ".webp", ".avif", ".JPG", ".JPEG", ".PNG"),
}
GIF_FIRST = "tumblr"  # TGIF's names begin so


def media_views(
    outputs: Mapping[str, str],
    types: Mapping[str, StreamType],
    inputs: Collection[str] | None,
) -> tuple[str, ...]:
    """Return which inputs of a spec hold the media of one sample, in the order of the task's outputs."""
    views = []
    for name in outputs:
        requested = inputs is None or name in inputs
        if requested and name in types and types[name].kind in SUFFIXES:
            views.append(name)
    return tuple(views)


def find_media(folder: Path, kind: str, name: str) -> Path:
    """Return where the file of ``name`` is; where none is, the first place it was looked for."""
    if kind == "image" and "." in name[-5:]:
        return folder / name
    suffixes = SUFFIXES[kind]
    if kind == "frames" and name.startswith(GIF_FIRST):
        suffixes = (".gif", *suffixes)
    paths = [folder / f"{name}{suffix}" for suffix in suffixes]
    # A video may be named with its suffix, where it has another one.
    return next((path for path in (*paths, folder / name) if isfile(path)), paths[0])


class MediaFolder:
    """The files of one folder as inputs of one type: ``frames B 3 T H W`` or ``image B 3 H W``.

    ``cache``: megabytes per process in which decoded files are kept (tiny ones: decoding costs more than
    training). Videos are seen in random frames in training, in the middle ones otherwise. ``mean`` and
    ``std`` normalize pixels: one number, or three (red, green, blue). A file is refused beyond ``max_pixels``
    in an image or a frame, ``max_frames`` in a video, and ``max_seconds`` of decoding.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        stream: StreamType,
        *,
        training: bool = False,
        augment: Augment = "none",
        decoder: Literal["av", "decord"] = "av",
        threads: int = 1,
        cache: int = 0,
        mean: Sequence[float] | float = CLIP_MEAN,
        std: Sequence[float] | float = CLIP_STD,
        max_pixels: int | None = None,
        max_frames: int | None = None,
        max_seconds: float | None = None,
    ) -> None:
        self.folder, self.kind = folder, stream.kind
        *counts, height, width = stream.axes[2:]
        frames = counts[0] if counts else 1
        if not (
            isinstance(frames, int) and isinstance(height, int) and height == width
        ):
            what = "a known square size"
            if counts:
                what = "a known number of frames and a square size"
            example = "frames B 3 8 224 224" if counts else "image B 3 224 224"
            raise UserError(
                f"input '{name}' must have {what}, but is '{stream}'; write them in `inputs`, as in "
                f"`{name}: {example}`, or set them in the vision module"
            )
        self.frames, self.size = frames, height
        self.training, self.augment = training, augment
        self.decoder, self.threads = decoder, threads
        self.mean, self.std = _channels("image_mean", mean), _channels("image_std", std)
        defaults = Limits()
        self.max_image_pixels = max_pixels or MAX_PIXELS
        self.limits = Limits(
            frames=max_frames or defaults.frames,
            pixels=max_pixels or defaults.pixels,
            seconds=max_seconds or defaults.seconds,
        )
        # By file, and whether its frames were reduced.
        self._cache: dict[tuple[MediaValue, bool], np.ndarray] = {}
        self._room = cache << 20

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one item: (3, T, H, W) or (3, H, W)."""
        middle = (self.frames,) if self.kind == "frames" else ()
        return (3, *middle, self.size, self.size)

    def file(self, name: str) -> MediaValue:
        """Return where the file of ``name`` is; where none is, the first place it was looked for."""
        return find_media(self.folder, self.kind, name)

    def read(self, name: str, rng: np.random.Generator) -> Tensor:
        """Return an item as float32 [3 T H W] or [3 H W]; raise VideoError or ImageError."""
        if self.kind == "frames":
            frames = self.clip(self.file(name), rng)
            if self.training:
                return train_transform(
                    frames, self.size, self.augment, rng, self.mean, self.std
                )
            return eval_transform(frames, self.size, self.mean, self.std)
        pixels = self.picture(self.file(name))
        if self.training:
            return train_picture(
                pixels, self.size, self.augment, rng, self.mean, self.std
            )
        return eval_picture(pixels, self.size, self.mean, self.std)

    def normalize(self, frames: Tensor) -> Tensor:
        """Return uint8 or float frames [T 3 H W] of 0..255 as float32 [3 T H W]."""
        return normalise(frames, self.mean, self.std)

    def black(self) -> Tensor:
        """Return a stand-in for a file that cannot be decoded."""
        return torch.zeros(self.shape)

    def picture(self, file: MediaValue) -> np.ndarray:
        """Return an image [H W 3] without changes, from memory if it was kept."""
        kept = self._cache.get((file, False))
        if kept is not None:
            return kept
        return self._keep(file, read_image(file, self.max_image_pixels), False)

    def clip(
        self, file: MediaValue, rng: np.random.Generator, scan: Scan | None = None
    ) -> np.ndarray:
        """Return the chosen frames [T H W 3] of a video, from memory if they were kept.

        They have their own size if training may crop them, else that of an item. ``scan`` is that of the
        file, if it was scanned before.
        """
        seed = rng.integers(2**63)

        # It may be called twice for a damaged file: a new generator each time draws the same numbers.
        def choose(total: int) -> list[int]:
            generator = np.random.default_rng(seed)
            sampling: Sampling = "random" if self.training else "middle"
            return frame_indices(total, self.frames, sampling, generator)

        shrink = self.shrink()
        if self.training or shrink is None:
            return self.frames_of(file, choose, shrink, scan)
        # Always the same frames: these alone are kept, however long the video is.
        kept = self._cache.get((file, True))
        if kept is not None:
            return kept
        return self._keep(file, self._decoded(file, choose, shrink, scan).frames, True)

    def frames_of(
        self,
        file: MediaValue,
        choose: Callable[[int], Sequence[int]],
        shrink: Shrink | None = None,
        scan: Scan | None = None,
    ) -> np.ndarray:
        """Return the frames [T H W 3] that ``choose(total number of frames)`` names, in ascending order.

        They come from memory if the complete file was kept. ``shrink`` makes each frame smaller.
        """
        kept = self._cache.get((file, shrink is not None))
        if kept is not None:
            return kept[list(choose(len(kept)))]
        if self._room <= 0:
            return self._decoded(file, choose, shrink, scan).frames
        scan = scan or scan_video(file, self.limits)
        # All frames are kept or none: training draws other frames each time.
        if not self._fits(scan, shrink):
            return self._decoded(file, choose, shrink, scan).frames
        clip = self._decoded(file, range, shrink, scan)
        return self._keep(file, clip.frames, shrink is not None)[
            list(choose(clip.total))
        ]

    def shrink(self) -> Shrink | None:
        """Return what makes a frame as small as the transforms make it; None if they crop it first."""
        if self.training and self.augment != "none":
            return None
        return lambda frame: resize_nearest(frame[None], self.size)[0]

    def _decoded(
        self,
        file: MediaValue,
        choose: Callable[[int], Sequence[int]],
        shrink: Shrink | None,
        scan: Scan | None,
    ) -> Clip:
        return read_frames(
            file,
            choose,
            decoder=self.decoder,
            threads=self.threads,
            limits=self.limits,
            shrink=shrink,
            scan=scan,
        )

    def _fits(self, scan: Scan, shrink: Shrink | None) -> bool:
        """Return whether all frames of a video fit into what is left of the cache."""
        pixels = scan.width * scan.height if shrink is None else self.size**2
        return scan.packets * pixels * 3 <= self._room

    def _keep(
        self, file: MediaValue, pixels: np.ndarray, is_reduced: bool
    ) -> np.ndarray:
        if self._room > 0 and (room := self._room - pixels.nbytes) >= 0:
            self._room, self._cache[file, is_reduced] = room, pixels
        return pixels


def _channels(name: str, value: Sequence[float] | float) -> Channels:
    """Return three numbers, one for each colour, of one or three."""
    values = [value] * 3 if isinstance(value, int | float) else list(value)
    if len(values) != 3 or (name == "image_std" and min(values) <= 0):
        raise ArgumentError(
            name,
            f"{name} must be one number or three for red, green, blue, but is {value}",
        )
    red, green, blue = values
    return float(red), float(green), float(blue)
