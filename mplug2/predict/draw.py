"""Boxes drawn on the image that they were found in."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from mplug2.data.media.image import read_image
from mplug2.predict.result import Result, printable
from registry.errors import UserError

COLOURS = ("#e5484d", "#2f6fdf", "#2a9d55", "#b7791f", "#8b5cf6", "#0e8fa3")
SIDE = 400  # pixels of the longer side below which a label would hide what it is about
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def check_path(path: Path) -> None:
    """Raise UserError if an image cannot be written to ``path``."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(
            f"--draw must be a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file, but is {path}"
        )
    if os.path.isdir(path) or not os.path.isdir(path.parent):
        raise UserError(f"--draw {path} must be a file in a folder that exists")


def draw(results: Sequence[Result], path: Path) -> None:
    """Write the image of ``results`` with the box of each and what it is called; a colour for each.

    An image smaller than ``SIDE`` is enlarged by an integer factor.
    """
    picture = Image.fromarray(read_image(results[0].media[0]))
    times = math.ceil(SIDE / max(picture.size))
    picture = picture.resize(
        (picture.width * times, picture.height * times), Image.Resampling.NEAREST
    )
    pen = ImageDraw.Draw(picture)
    # Marks grow with the image.
    unit = max(picture.size) / SIDE
    size, line = max(12, round(8 * unit)), max(2, round(unit))
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    letters = ImageFont.truetype(fonts / "DejaVuSans.ttf", size)
    for number, result in enumerate(results):
        if result.box is None:
            continue
        colour = COLOURS[number % len(COLOURS)]
        left, top, right, bottom = (times * side for side in result.box)
        pen.rectangle((left, top, right, bottom), outline=colour, width=line)
        text, height = printable(result.question or ""), 1.5 * size
        width = letters.getlength(text) + size
        # The label is above the box, else below it, and inside the image.
        x = max(0.0, min(left, picture.width - width))
        y = top - height if top >= height else min(bottom, picture.height - height)
        pen.rectangle((x, y, x + width, y + height), fill=colour)
        pen.text(
            (x + size / 2, y + height / 2),
            text,
            font=letters,
            fill="white",
            anchor="lm",
        )
    try:
        picture.save(path)
    except OSError as error:
        raise UserError(f"the picture {path} cannot be written ({error})") from None
