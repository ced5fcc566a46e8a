"""Boxes stand where they were found, on images of any size."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageColor

from mplug2.predict.draw import COLOURS, draw
from mplug2.predict.result import Prediction, Result


@pytest.mark.parametrize(("size", "times"), [((40, 20), 10), ((500, 450), 1)])
def test_a_small_image_is_enlarged_with_its_box(
    size: tuple[int, int], times: int, tmp_path: Path
) -> None:
    file, drawn = tmp_path / "a.png", tmp_path / "drawn.png"
    Image.new("RGB", size, "black").save(file)
    guess = Prediction("", box=(20.0, 10.0, 30.0, 16.0))
    draw([Result((str(file),), "image", (guess,), question="it")], drawn)
    with Image.open(drawn) as picture:
        assert picture.size == (size[0] * times, size[1] * times)
        colour = ImageColor.getrgb(COLOURS[0])
        for x, y in (
            (20, 16),
            (30, 16),
            (30, 13),
        ):  # corners and an edge away from the label
            assert picture.getpixel((x * times, y * times)) == colour
        assert picture.getpixel((18 * times, 18 * times)) == (0, 0, 0)
