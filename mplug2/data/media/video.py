"""Frames out of a video file, exactly those asked for, within bounds of time and memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os.path import isfile  # false, too, where a name is too long
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from mplug2.data.packed_file import MediaFile, byte_source
from registry.errors import UserError

Decoder = Literal["av", "decord"]
Shrink = Callable[[np.ndarray], np.ndarray]

# What FFmpeg may take a file for, whose content decides and not its name: containers of videos, not those
# lists (hls, concat, dash, sdp) that make it read other files or ask the network.
_CONTAINERS = (
    *(
        "mov",
        "mp4",
        "matroska",
        "avi",
        "gif",
        "mpeg",
        "mpegts",
        "mpegvideo",
        "asf",
        "flv",
        "ogg",
        "rm",
    ),
    *("m4v", "h264", "hevc", "obu", "ivf", "dv", "mxf", "nut", "mjpeg"),
)


class VideoError(UserError):
    """A file is not a video, or has no frame that can be decoded; the message is one sentence with its
    name."""


@dataclass(frozen=True)
class Limits:
    """What a single file may cost before it is refused."""

    bytes: int = 8 << 30
    frames: int = 200_000
    pixels: int = 8192 * 4352  # of one frame
    seconds: float = 300.0  # of decoding
    kept_bytes: int = 1 << 30  # of the frames that are returned


@dataclass(frozen=True)
class Scan:
    """Properties from the packets of a file: fast (a few milliseconds), but not always right."""

    packets: int
    width: int
    height: int
    plain: bool
    """8-bit H.264 in mp4 without edit list or open GOPs: decord reads these correctly."""
    seconds: float | None = None  # the duration in the header; None if it has none


@dataclass(frozen=True)
class Clip:
    """Frames [T H W 3] uint8, upright; ``indices`` into the ``total`` frames of the file; broken packets
    passed over."""

    frames: np.ndarray
    indices: list[int]
    total: int
    errors: int


def read_frames(
    path: str | MediaFile,
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
    path, limits = _media_file(path), limits or Limits()
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
        self.path, self.indices, self.limits, self.shrink = path, indices, limits, shrink
        self._wanted = set(indices)
        self._taken: dict[int, np.ndarray] = {}
        self._converter = (
            VideoReformatter()
        )  # Setting one up costs more than converting a small frame.

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


def scan_video(path: str | MediaFile, limits: Limits | None = None) -> Scan:
    """Return the properties of the best video stream from its packets; raise VideoError if there is none."""
    path, limits = _media_file(path), limits or Limits()
    if isinstance(path, Path):
        _check_file(path, limits)
    packets = hidden = leading = 0
    key_time: int | None = None
    seconds: float | None = None
    try:
        with _open(path) as container:
            stream = _video_stream(path, container)
            width, height = stream.codec_context.width, stream.codec_context.height
            _check_pixels(path, width, height, limits)
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue
                packets += not packet.is_discard
                hidden += packet.is_discard
                if packet.is_keyframe:
                    key_time = packet.pts
                elif (
                    key_time is not None
                    and packet.pts is not None
                    and packet.pts < key_time
                ):
                    leading += 1
                if packets > limits.frames:
                    raise VideoError(
                        f"{path} has more than {limits.frames} frames; cut it into shorter clips"
                    )
            seconds = (
                None if container.duration is None else container.duration / av.time_base
            )
            plain = (
                "mp4" in container.format.name
                and stream.codec_context.name == "h264"
                and stream.codec_context.pix_fmt == "yuv420p"
                and stream.frames == packets
                and not (hidden or leading or stream.start_time)
            )
    except av.error.FFmpegError as error:
        if packets == 0:
            raise VideoError(
                f"{path} is not a video that can be read ({_reason(error)})"
            ) from None
        plain = False  # the container breaks off: what came before may still decode
    return Scan(packets, width, height, plain, seconds)


def _media_file(path: str | MediaFile) -> MediaFile:
    return Path(path) if isinstance(path, str) else path


def _check_file(path: Path, limits: Limits) -> None:
    if not isfile(path):
        raise VideoError(f"the video {path} does not exist")
    size = path.stat().st_size
    if size == 0:
        raise VideoError(f"the video {path} is empty (0 bytes)")
    if size > limits.bytes:
        raise VideoError(
            f"the video {path} has {size} bytes; at most {limits.bytes} are read"
        )


def _check_pixels(path: MediaFile, width: int, height: int, limits: Limits) -> None:
    if width * height > limits.pixels:
        raise VideoError(
            f"{path} has frames of {width}x{height} pixels; at most {limits.pixels} are read"
        )


def _check_clip(
    path: MediaFile, width: int, height: int, frames: int, limits: Limits
) -> None:
    size = width * height * 3 * frames
    if size > limits.kept_bytes:
        raise VideoError(
            f"{path}: {frames} frames of {width}x{height} pixels need {size} bytes, but at most "
            f"{limits.kept_bytes} are kept; scale the video down"
        )


def _open(path: MediaFile) -> av.container.InputContainer:
    options = {"format_whitelist": ",".join(_CONTAINERS), "protocol_whitelist": "file"}
    try:
        try:
            # names and titles in other encodings than UTF-8 are of no use here, and must do no harm
            return av.open(
                byte_source(path), container_options=options, metadata_errors="replace"
            )
        except TypeError:  # a PyAV that has no such argument
            return av.open(byte_source(path), container_options=options)
    except (
        av.error.ArgumentError
    ):  # FFmpeg's message for a container that is not among them
        raise VideoError(
            f"{path} is not a video that can be read (its container is not one of {', '.join(_CONTAINERS)})"
        ) from None


def _video_stream(
    path: MediaFile, container: av.container.InputContainer
) -> av.VideoStream:
    """The stream FFmpeg calls best (largest frame), so that a cover or a preview is not taken for the
    video."""
    stream = container.streams.best("video")
    if not isinstance(stream, av.VideoStream):
        kinds = sorted({s.type for s in container.streams})
        raise VideoError(
            f"{path} holds no video stream (only {', '.join(kinds) or 'nothing'})"
        )
    if stream.codec_context is None:
        raise VideoError(
            f"{path} is encoded by a codec that is not known here; re-encode it"
        )
    return stream


def _decode(
    path: MediaFile, kept: _KeptFrames, threads: int, limits: Limits, deadline: float
) -> tuple[int, int]:
    """Decode the complete stream into ``kept``; return the number of frames and of broken packets."""
    size: tuple[int, int] | None = None
    total = errors = 0
    try:
        with _open(path) as container:
            stream = _video_stream(path, container)
            if threads:
                stream.codec_context.thread_count = threads
            # frame threads are 10-25 % faster than slice threads on two cores, and give the same frames
            stream.thread_type = "AUTO"
            for packet in container.demux(stream):
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    errors += (
                        1  # as ffmpeg does: one broken packet costs its own frame only
                    )
                    continue
                for frame in frames:
                    # every frame, so that it does not hang on the choice of them whether a file can be used
                    if size is not None and size != (frame.width, frame.height):
                        raise VideoError(
                            f"{path} changes its frame size from {size[0]}x{size[1]} to {frame.width}x"
                            f"{frame.height} pixels in frame {total}; re-encode it"
                        )
                    size = frame.width, frame.height
                    _check_pixels(
                        path, *size, limits
                    )  # the metadata of the file need not be true
                    kept.add(total, frame)
                    total += 1
                if total > limits.frames:
                    raise VideoError(
                        f"{path} has more than {limits.frames} frames; cut it into shorter clips"
                    )
                if time.monotonic() > deadline:
                    raise VideoError(
                        f"{path} took more than {limits.seconds:g} s to decode; re-encode or shorten it"
                    )
    except av.error.FFmpegError as error:
        if total == 0:
            raise VideoError(f"{path} cannot be decoded ({_reason(error)})") from None
        errors += 1
    return total, errors


def _upright(frame: av.VideoFrame, converter: VideoReformatter) -> np.ndarray:
    """The frame as RGB, turned the way a player shows it (FFmpeg hands over the stored orientation)."""
    picture = converter.reformat(frame, format="rgb24").to_ndarray()
    quarters = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, quarters)) if quarters else picture


def _reason(error: av.error.FFmpegError) -> str:
    return error.strerror or type(error).__name__


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
