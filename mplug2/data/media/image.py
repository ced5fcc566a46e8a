"""Pixels out of an image file, upright and in RGB, within bounds."""

from __future__ import annotations

import warnings
from functools import cache
from os.path import isfile  # false, too, where a name is too long
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from registry.errors import UserError

# what data sets hold; Pillow knows more, and starts another program for some of them (EPS)
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
MAX_BYTES = 256 << 20
MAX_PIXELS = 8192 * 8192


class ImageError(UserError):
    """A file is not a readable image; the message is one sentence with its name."""


def read_image(path: str | Path) -> np.ndarray:
    """Return an image as uint8 [H W 3], turned according to its EXIF data; raise ImageError if it cannot be
    read.

    Transparent images get a black background; 16 bits a pixel become 8. Nothing is decoded past ``MAX_BYTES``
    of file or ``MAX_PIXELS`` of image.
    """
    path = Path(path)
    if not isfile(path):
        raise ImageError(f"the image {path} does not exist")
    if path.stat().st_size > MAX_BYTES:
        raise ImageError(f"the image {path} has {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
    try:
        with warnings.catch_warnings():
            # Pillow warns of large images, which have a limit here, and of odd metadata
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_formats()) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ImageError(
                        f"{path} has {image.width}x{image.height} pixels; at most {MAX_PIXELS} are read"
                    )
                image.load()
                return np.array(_rgb(_upright(image)))
    except ImageError:
        raise
    except UnidentifiedImageError:
        known = ", ".join(_formats())
        raise ImageError(f"{path} is not an image that can be read ({known})") from None
    # the file steers one of a dozen decoders; broken ones have raised nearly every kind of exception there
    except Exception as error:
        raise ImageError(f"{path} cannot be decoded ({str(error) or type(error).__name__})") from None


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return uint8 [H W 3] resized by bicubic interpolation with antialiasing."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Broken EXIF data raise many errors; the image is readable, so it is not turned.
        return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        return _grey(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        ground = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _grey(image: Image.Image) -> Image.Image:
    """16 bits a pixel, or floating point of 0 to 1 or to 255: a plain conversion clips either."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    clear = values == image.info.get("transparency")
    if image.mode != "F":
        values = values / 257
    elif values.max() <= 1:
        values = values * 255
    return Image.fromarray(np.where(clear, 0, values).clip(0, 255).astype(np.uint8))
