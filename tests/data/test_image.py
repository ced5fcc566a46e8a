"""Images come upright and in RGB, whatever their file says, and broken ones are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mplug2.data import image
from mplug2.data.image import ImageError, read_image


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1", "CMYK", "I;16"])
def test_every_mode_is_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "jpg" if mode == "CMYK" else "png"
    if mode == "I;16":
        Image.fromarray(np.full((4, 6), 65535, dtype=np.uint16)).save(tmp_path / f"a.{suffix}")
    else:
        Image.new("RGB", (6, 4), (255, 255, 255)).convert(mode).save(tmp_path / f"a.{suffix}")
    pixels = read_image(tmp_path / f"a.{suffix}")
    assert pixels.shape == (4, 6, 3)
    assert pixels.dtype == np.uint8
    assert pixels.min() >= 250


def test_what_is_transparent_is_black(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").max() == 0


def test_a_turned_photograph_stands_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter to the right
    Image.new("RGB", (6, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (6, 4, 3)


def test_files_that_are_no_images_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    Image.new("RGB", (64, 64)).save(tmp_path / "good.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:60])
    for name, said in (
        ("none.jpg", "does not exist"),
        ("text.jpg", "is not an image"),
        ("cut.png", "decoded"),
    ):
        with pytest.raises(ImageError, match=f"{name}.*{said}"):
            read_image(tmp_path / name)
    monkeypatch.setattr(image, "MAX_PIXELS", 1000)
    with pytest.raises(ImageError, match="has 64x64 pixels; at most 1000 are read"):
        read_image(tmp_path / "good.png")


def test_real_images_are_read(shared: Path) -> None:
    files = sorted((shared / "data" / "images").rglob("*.jpg"))
    assert len(files) > 20
    for file in files[:40]:
        assert read_image(file).shape[2] == 3
