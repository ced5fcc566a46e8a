"""A video file: the containers that are opened, the limits of a file, and what its packets show."""

from __future__ import annotations

from dataclasses import dataclass
from os.path import isfile  # false, too, where a name is too long
from pathlib import Path

import av

from mplug2.data.media.pixel_file import MediaValue, PixelFile
from mplug2.data.packed_file import MediaFile, byte_source
from registry.errors import UserError

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


def scan_video(path: str | MediaValue, limits: Limits | None = None) -> Scan:
    """Return the properties of the best video stream from its packets; raise VideoError if there is none."""
    limits = limits or Limits()
    if isinstance(path, PixelFile):
        return scan_pixels(path, limits)
    path = media_file(path)
    if isinstance(path, Path):
        _check_file(path, limits)
    packets = hidden = leading = 0
    key_time: int | None = None
    seconds: float | None = None
    try:
        with open_container(path) as container:
            stream = video_stream(path, container)
            width, height = stream.codec_context.width, stream.codec_context.height
            check_pixels(path, width, height, limits)
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
                check_count(path, packets, limits)
            seconds = (
                None
                if container.duration is None
                else container.duration / av.time_base
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
                f"{path} is not a video that can be read ({reason(error)})"
            ) from None
        plain = False  # the container breaks off: what came before may still decode
    return Scan(packets, width, height, plain, seconds)


def scan_pixels(file: PixelFile, limits: Limits) -> Scan:
    """Return the properties of frames in memory; VideoError past ``limits``."""
    frames, height, width = file.size
    check_pixels(file.name, width, height, limits)
    check_count(file.name, frames, limits)
    return Scan(frames, width, height, plain=False)


def media_file(path: str | MediaFile) -> MediaFile:
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


def check_count(path: str | MediaFile, frames: int, limits: Limits) -> None:
    """Raise VideoError for a video of too many frames."""
    if frames > limits.frames:
        raise VideoError(
            f"{path} has more than {limits.frames} frames; cut it into shorter clips"
        )


def check_pixels(
    path: str | MediaFile, width: int, height: int, limits: Limits
) -> None:
    if width * height > limits.pixels:
        raise VideoError(
            f"{path} has frames of {width}x{height} pixels; at most {limits.pixels} are read"
        )


def open_container(path: MediaFile) -> av.container.InputContainer:
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


def video_stream(
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


def reason(error: av.error.FFmpegError) -> str:
    return error.strerror or type(error).__name__
