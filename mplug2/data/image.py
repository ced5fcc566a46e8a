"""Pixels out of an image file, upright and in RGB, within bounds."""

from __future__ import annotations

import warnings
from os.path import isfile  # false, too, where a name is too long
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from registry.errors import UserError

MAX_BYTES = 256 << 20
MAX_PIXELS = 8192 * 8192


class ImageError(UserError):
    """A file that is no image that can be read; the message is one sentence with its name."""


def read_image(path: str | Path) -> np.ndarray:
    """Return an image as uint8 [H W 3], turned as its EXIF data says; ImageError where there is none.

    Transparent images lie on black. Nothing is decoded past ``MAX_BYTES`` of file or ``MAX_PIXELS`` of
    picture.
    """
    path = Path(path)
    if not isfile(path):
        raise ImageError(f"the image {path} does not exist")
    if path.stat().st_size > MAX_BYTES:
        raise ImageError(f"the image {path} has {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures, which have their bound here, and of odd metadata
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ImageError(
                        f"{path} has {image.width}x{image.height} pixels; at most {MAX_PIXELS} are read"
                    )
                return np.array(_rgb(ImageOps.exif_transpose(image)))
    except UnidentifiedImageError:
        raise ImageError(f"{path} is not an image that can be read") from None
    # broken files raise any of these, by format
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path} cannot be decoded ({error})") from None


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return uint8 [H W 3] resized by bicubic interpolation with antialiasing."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        ground = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    if image.mode.startswith(("I;16", "I")):  # 16 bits a pixel, which a plain conversion clips to white
        return Image.fromarray(
            (np.asarray(image, dtype=np.float64) / 257).clip(0, 255).astype(np.uint8)
        ).convert("RGB")
    return image.convert("RGB")
