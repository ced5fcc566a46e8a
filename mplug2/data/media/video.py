"""Frames out of a video file, exactly those asked for, within bounds of time and memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from mplug2.data.media.pixel_file import MediaValue, PixelFile
from mplug2.data.media.video_file import (
    Limits,
    Scan,
    VideoError,
    check_count,
    check_pixels,
    media_file,
    open_container,
    reason,
    scan_pixels,
    scan_video,
    video_stream,
)
from mplug2.data.packed_file import MediaFile
from registry.errors import UserError

Decoder = Literal["av", "decord"]
Shrink = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Clip:
    """Frames [T H W 3] uint8, upright; ``indices`` into the ``total`` frames of the file; broken packets
    passed over."""

    frames: np.ndarray
    indices: list[int]
    total: int
    errors: int


def read_frames(
    path: str | MediaValue,
    choose: Callable[[int], Sequence[int]],
    *,
    decoder: Decoder = "av",
    threads: int = 0,
    limits: Limits | None = None,
    shrink: Shrink | None = None,
    scan: Scan | None = None,
) -> Clip:
    """Return the frames that ``choose(total number of frames)`` names (ascending, repeats allowed).

    Every frame before the last wanted one is decoded in order, for seeking is inexact on many files, and no
    header's frame count is believed. The number of packets is the first guess of the total (right on all
    sound files tried, at 2-5 ms); decoding to the end confirms it, and where it was wrong (damaged or cut off
    files) a second pass takes the frames of the true total. So memory holds the chosen frames alone, and a
    sound file is decoded once. ``choose`` must be a pure function of its argument. ``threads`` 0 leaves their
    number to FFmpeg; loader workers use 1. ``shrink`` makes each frame [H W 3] smaller before it is kept.
    ``scan``: what `scan_video` returned, if the caller needed it before. Raises VideoError where there is
    nothing to decode, or past ``limits``.
    """
    limits = limits or Limits()
    if isinstance(path, PixelFile):
        return _take_frames(path, choose, limits, shrink)
    path = media_file(path)
    scan = scan or scan_video(path, limits)
    if decoder == "decord" and scan.plain and isinstance(path, Path):
        clip = _read_decord(path, scan, choose, threads, limits)
        if clip is not None:
            return (
                clip
                if shrink is None
                else replace(clip, frames=np.stack(list(map(shrink, clip.frames))))
            )
    deadline = time.monotonic() + limits.seconds
    expected = max(scan.packets, 1)
    for _ in range(2):
        indices = list(choose(expected))
        kept = _KeptFrames(path, indices, limits, shrink)
        total, errors = _decode(path, kept, threads, limits, deadline)
        if total == 0:
            raise VideoError(
                f"{path} holds a video stream but not one frame of it can be decoded"
            )
        if total == expected:
            break
        expected = total
    else:
        raise VideoError(
            f"{path} decodes to a different number of frames each time; re-encode it"
        )
    return Clip(kept.stack(), indices, total, errors)


class _KeptFrames:
    """The frames that are asked for, as they come out of the decoder, upright and as small as they may be."""

    def __init__(
        self, path: MediaFile, indices: list[int], limits: Limits, shrink: Shrink | None
    ) -> None:
        self.path, self.indices, self.limits, self.shrink = (
            path,
            indices,
            limits,
            shrink,
        )
        self._wanted = set(indices)
        self._taken: dict[int, np.ndarray] = {}
        # Setting one up costs more than converting a small frame.
        self._converter = VideoReformatter()

    def add(self, number: int, frame: av.VideoFrame) -> None:
        """Keep a frame if it is asked for; VideoError if all of them together are too large."""
        if number not in self._wanted:
            return
        if self.shrink is None and not self._taken:
            _check_clip(
                self.path, frame.width, frame.height, len(self.indices), self.limits
            )
        picture = _upright(frame, self._converter)
        self._taken[number] = picture if self.shrink is None else self.shrink(picture)

    def stack(self) -> np.ndarray:
        """Return all frames [T H W 3] in the order asked for, repeats too."""
        if len({frame.shape for frame in self._taken.values()}) > 1:
            raise VideoError(
                f"{self.path} rotates its frames within the video; re-encode it"
            )
        return np.stack([self._taken[index] for index in self.indices])


def _take_frames(
    file: PixelFile,
    choose: Callable[[int], Sequence[int]],
    limits: Limits,
    shrink: Shrink | None,
) -> Clip:
    """Return the chosen frames of an array or a tensor, converted one by one."""
    scan = scan_pixels(file, limits)
    indices = list(choose(scan.packets))
    if shrink is None:
        _check_clip(file.name, scan.width, scan.height, len(indices), limits)
    frames = []
    try:
        for index in indices:
            (frame,) = file.take([index])
            frames.append(frame if shrink is None else shrink(frame))
    except ValueError as error:
        raise VideoError(f"{file} cannot be read ({error})") from None
    return Clip(np.stack(frames), indices, scan.packets, 0)


def _check_clip(
    path: str | MediaFile, width: int, height: int, frames: int, limits: Limits
) -> None:
    size = width * height * 3 * frames
    if size > limits.kept_bytes:
        raise VideoError(
            f"{path}: {frames} frames of {width}x{height} pixels need {size} bytes, but at most "
            f"{limits.kept_bytes} are kept; scale the video down"
        )


def _decode(
    path: MediaFile, kept: _KeptFrames, threads: int, limits: Limits, deadline: float
) -> tuple[int, int]:
    """Decode the complete stream into ``kept``; return the number of frames and of broken packets."""
    size: tuple[int, int] | None = None
    total = errors = 0
    try:
        with open_container(path) as container:
            stream = video_stream(path, container)
            if threads:
                stream.codec_context.thread_count = threads
            # frame threads are 10-25 % faster than slice threads on two cores, and give the same frames
            stream.thread_type = "AUTO"
            for packet in container.demux(stream):
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    # As ffmpeg does: one broken packet costs its own frame only.
                    errors += 1
                    continue
                for frame in frames:
                    # every frame, so that it does not hang on the choice of them whether a file can be used
                    if size is not None and size != (frame.width, frame.height):
                        raise VideoError(
                            f"{path} changes its frame size from {size[0]}x{size[1]} to {frame.width}x"
                            f"{frame.height} pixels in frame {total}; re-encode it"
                        )
                    size = frame.width, frame.height
                    check_pixels(
                        path, *size, limits
                    )  # the metadata of the file need not be true
                    kept.add(total, frame)
                    total += 1
                check_count(path, total, limits)
                if time.monotonic() > deadline:
                    raise VideoError(
                        f"{path} took more than {limits.seconds:g} s to decode; re-encode or shorten it"
                    )
    except av.error.FFmpegError as error:
        if total == 0:
            raise VideoError(f"{path} cannot be decoded ({reason(error)})") from None
        errors += 1
    return total, errors


def _upright(frame: av.VideoFrame, converter: VideoReformatter) -> np.ndarray:
    """The frame as RGB, turned the way a player shows it (FFmpeg hands over the stored orientation)."""
    picture = converter.reformat(frame, format="rgb24").to_ndarray()
    quarters = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, quarters)) if quarters else picture


def _read_decord(
    path: Path,
    scan: Scan,
    choose: Callable[[int], Sequence[int]],
    threads: int,
    limits: Limits,
) -> Clip | None:
    """Read with decord (optional, faster on H.264); None where it disagrees with the packets, so that av
    decides."""
    try:
        import decord
    except ImportError:
        raise UserError(
            "decoder 'decord' needs the decord package: pip install decord, or set decoder: av"
        ) from None
    try:
        reader = decord.VideoReader(str(path), num_threads=threads)
        if len(reader) != scan.packets:
            return None
        indices = list(choose(len(reader)))
        _check_clip(path, scan.width, scan.height, len(indices), limits)
        return Clip(reader.get_batch(indices).asnumpy(), indices, len(reader), 0)
    except decord.DECORDError:
        return None
