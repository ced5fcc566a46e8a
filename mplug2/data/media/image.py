"""Pixels out of an image file, upright and in RGB, within bounds."""

from __future__ import annotations

import contextlib
import warnings
from functools import cache
from os.path import isfile  # false, too, where a name is too long
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mplug2.data.media.pixel_file import MediaValue, PixelFile
from mplug2.data.packed_file import MediaFile, byte_source
from registry.errors import UserError

# What data sets hold; Pillow knows more, and starts another program for some of them (EPS).
FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "BMP",
    "TIFF",
    "PPM",
    "AVIF",
    "JPEG2000",
    "HEIF",
)
# Of the box `ftyp` (ISO/IEC 23008-12).
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
MAX_BYTES = 256 << 20
MAX_PIXELS = 8192 * 8192
# Pixels that are converted at once: floating point needs several times the bytes of the file.
_BAND = 1 << 20


class ImageError(UserError):
    """A file is not a readable image; the message is one sentence with its name."""


def read_image(path: str | MediaValue, max_pixels: int | None = None) -> np.ndarray:
    """Return an image as uint8 [H W 3], turned according to its EXIF data; raise ImageError if it cannot be
    read.

    Pixels in memory are converted in the same way.
    Transparent images get a black background; 16 and 32 bits a pixel become 8. Nothing is decoded past
    ``MAX_BYTES`` of file or ``max_pixels`` (by default `MAX_PIXELS`) of image.
    """
    limit = MAX_PIXELS if max_pixels is None else max_pixels
    if isinstance(path, PixelFile):
        return _read_pixels(path, limit)
    path = Path(path) if isinstance(path, str) else path
    if isinstance(path, Path):
        _check_file(path)
    source = byte_source(path, MAX_BYTES)
    try:
        with warnings.catch_warnings():
            # Pillow warns of large images, which have a limit here, and of odd metadata.
            warnings.simplefilter("ignore")
            with Image.open(source, formats=_formats()) as image:
                _check_pixels(str(path), image.width, image.height, limit)
                # Only after the check of its size, which is in the header.
                image.load()
                return _pixels(_upright(image), _grey_scale(image))
    except ImageError:
        raise
    except UnidentifiedImageError:
        if "HEIF" not in _formats() and _is_heic(path):
            raise ImageError(
                f"{path} is a HEIC image, which needs the package pillow-heif. Run `pip install mplug2[heif]`"
            ) from None
        known = ", ".join(_formats())
        raise ImageError(f"{path} is not an image that can be read ({known})") from None
    except Exception as error:
        # The file steers one of a dozen decoders: broken ones have raised nearly every kind of exception.
        raise ImageError(
            f"{path} cannot be decoded ({str(error) or type(error).__name__})"
        ) from None


def _read_pixels(file: PixelFile, limit: int) -> np.ndarray:
    _, height, width = file.size
    _check_pixels(file.name, width, height, limit)
    try:
        if not isinstance(file.values, Image.Image):
            return file.take([0])[0]
        # An image that was opened is decoded only now.
        file.values.load()
        return _pixels(_upright(file.values), _grey_scale(file.values))
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise ImageError(f"{file} cannot be read ({reason})") from None


def _check_pixels(name: str, width: int, height: int, limit: int) -> None:
    if width * height > limit:
        raise ImageError(
            f"{name} has {width}x{height} pixels; at most {limit} are read"
        )


def _check_file(path: Path) -> None:
    if not isfile(path):
        raise ImageError(f"the image {path} does not exist")
    if path.stat().st_size > MAX_BYTES:
        raise ImageError(
            f"the image {path} has {path.stat().st_size} bytes; at most {MAX_BYTES} are read"
        )


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return uint8 [H W 3] resized by bicubic interpolation with antialiasing."""
    if pixels.shape[:2] == (height, width):
        return pixels
    # Pillow's sizes are width first.
    resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    return np.array(resized)


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    # An extra, for photographs of phones.
    with contextlib.suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _is_heic(path: MediaFile) -> bool:
    """Return whether a file begins as HEIC images do: a box `ftyp` with one of their brands."""
    source = byte_source(path, MAX_BYTES)
    with open(source, "rb") if isinstance(source, str) else source as file:
        head = file.read(12)
    return head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        # Broken EXIF data raise many errors; the image is readable, so it is not turned.
        return image


def _pixels(image: Image.Image, scale: float) -> np.ndarray:
    """Return an image as uint8 [H W 3], converted band by band; ``scale`` is that of deep greys."""
    pixels = np.empty((image.height, image.width, 3), dtype=np.uint8)
    transparency = image.info.get("transparency")
    rows = max(1, _BAND // max(image.width, 1))
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        band = image.crop((0, top, image.width, bottom))
        if _is_deep(image):
            pixels[top:bottom] = _grey(np.asarray(band), scale, transparency)[
                :, :, None
            ]
        else:
            pixels[top:bottom] = np.asarray(_rgb(band))
    return pixels


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        ground = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _is_deep(image: Image.Image) -> bool:
    """Return whether an image has grey values of more than 8 bits, which a plain conversion clips."""
    return image.mode == "F" or image.mode.startswith("I")


def _grey(values: np.ndarray, scale: float, transparency: object) -> np.ndarray:
    grey = np.nan_to_num(values.astype(np.float64)) * scale
    if isinstance(transparency, int):
        # Transparent grey is on black, as colours are.
        grey[values == transparency] = 0
    return grey.clip(0, 255).astype(np.uint8)


def _grey_scale(image: Image.Image) -> float:
    """Return the factor that brings deep greys to 0..255.

    The white of a 16-bit file is 65535. A file of 32 bits or of floating point does not specify it: its
    brightest pixel shows whether it holds 0..1, bytes, 16-bit or larger values.
    """
    if not _is_deep(image):
        return 1.0
    if image.mode.startswith("I;16") or image.format in ("PNG", "PPM"):
        return 1 / 257
    extrema = image.getextrema()
    brightest = float(np.nan_to_num(extrema[1]))  # type: ignore[arg-type]  # one band: two numbers
    if image.mode == "F" and brightest <= 1:
        return 255.0
    if brightest <= 255:
        return 1.0
    return 1 / 257 if brightest <= 65535 else 255 / (2**31 - 1)
