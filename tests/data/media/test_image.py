"""Images come upright and in RGB, whatever their file says, and broken ones are named."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mplug2.data.media import image
from mplug2.data.media.image import ImageError, read_image


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1", "CMYK", "I;16"])
def test_every_mode_is_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "jpg" if mode == "CMYK" else "png"
    if mode == "I;16":
        Image.fromarray(np.full((4, 6), 65535, dtype=np.uint16)).save(
            tmp_path / f"a.{suffix}"
        )
    else:
        Image.new("RGB", (6, 4), (255, 255, 255)).convert(mode).save(
            tmp_path / f"a.{suffix}"
        )
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


@pytest.mark.parametrize("suffix", ["avif", "jp2"])
def test_newer_formats_are_read(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (6, 4), (255, 255, 255)).save(tmp_path / f"a.{suffix}")
    pixels = read_image(tmp_path / f"a.{suffix}")
    assert pixels.shape == (4, 6, 3)
    assert pixels.min() >= 250


def test_an_image_of_a_phone_names_the_package_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "_formats", lambda: ("PNG",))
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic")
    with pytest.raises(
        ImageError, match=r"a\.heic is a HEIC image.*pip install mplug2\[heif\]"
    ):
        read_image(tmp_path / "a.heic")
    (tmp_path / "b.heic").write_bytes(b"\0\0\0\x18ftypmp42")
    with pytest.raises(ImageError, match=r"b\.heic is not an image"):
        read_image(tmp_path / "b.heic")


def test_an_image_of_a_phone_is_read_with_that_package(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif", reason="pillow-heif is an extra")
    assert "HEIF" in image._formats()
    Image.new("RGB", (64, 48), (255, 255, 255)).save(tmp_path / "a.heic")
    assert read_image(tmp_path / "a.heic").shape == (48, 64, 3)


def test_files_that_are_no_images_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def png(
    path: Path, depth: int, colour: int, rows: np.ndarray, extra: bytes = b""
) -> None:
    """Write a PNG file by hand: Pillow does not write every kind that there is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data))
            + kind
            + data
            + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width = rows.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = (
        chunk(b"IHDR", head),
        extra and chunk(b"tRNS", extra),
        chunk(b"IDAT", body),
        chunk(b"IEND", b""),
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def test_deep_greys_keep_their_shades(tmp_path: Path) -> None:
    shades = np.tile(np.arange(64, dtype=np.uint16) * 1040, (4, 1))
    png(tmp_path / "plain.png", 16, 0, shades.astype(">u2"))
    png(
        tmp_path / "clear.png",
        16,
        0,
        shades.astype(">u2"),
        struct.pack(">H", 1040 * 63),
    )
    Image.fromarray((shades / 65535).astype(np.float32)).save(tmp_path / "unit.tif")
    Image.fromarray((shades / 257).astype(np.float32)).save(tmp_path / "byte.tif")
    for name in ("plain.png", "clear.png", "unit.tif", "byte.tif"):
        row = read_image(tmp_path / name)[0, :, 0].astype(float)
        assert np.allclose(row[:63], shades[0, :63] / 257, atol=1), name
        assert row[63] == (0 if name == "clear.png" else 254), name


@pytest.mark.parametrize(
    ("brightest", "dtype", "expected"),
    [
        (200, np.int32, 200),
        (65535, np.int32, 255),
        (2**31 - 1, np.int32, 255),
        (51400, np.float32, 200),
    ],
)
def test_deep_greys_without_a_declared_white(
    tmp_path: Path, brightest: int, dtype: type, expected: int
) -> None:
    Image.fromarray(np.array([[0, brightest // 2, brightest]], dtype=dtype)).save(
        tmp_path / "a.tif"
    )
    row = read_image(tmp_path / "a.tif")[0, :, 0].astype(int)
    assert row[0] == 0
    assert abs(row[1] - expected // 2) <= 1
    assert abs(row[2] - expected) <= 1


@pytest.mark.parametrize(
    "mode", ["RGB", "L", "P", "RGBA", "LA", "1", "CMYK", "F", "I", "YCbCr", "HSV"]
)
def test_an_image_that_is_converted_in_bands_is_the_same(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = Image.effect_noise((13, 29), 80).convert("RGB").convert(mode)
    complete = image._pixels(picture, 1.0)
    monkeypatch.setattr(image, "_BAND", 50)
    assert np.array_equal(image._pixels(picture, 1.0), complete)
    assert complete.shape == (29, 13, 3)


def test_a_deep_image_needs_little_more_memory_than_its_pixels(tmp_path: Path) -> None:
    size = 3000
    Image.fromarray(np.full((size, size), 40000, dtype=np.uint16)).save(
        tmp_path / "a.png"
    )
    tracemalloc.start()
    try:
        read_image(tmp_path / "a.png")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # In one piece, floating point alone has 8 bytes a pixel; a band has a million pixels.
    assert peak < size * size * 6


def test_what_pillow_would_hand_to_another_program_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr("subprocess.Popen", started)
    monkeypatch.setattr("subprocess.check_call", started)
    monkeypatch.setattr("PIL.EpsImagePlugin.has_ghostscript", lambda: True)
    Image.new("RGB", (20, 10)).save(tmp_path / "drawing.eps")
    (tmp_path / "drawing.eps").rename(tmp_path / "drawing.jpg")
    with pytest.raises(
        ImageError, match=r"drawing\.jpg is not an image that can be read \(JPEG, PNG"
    ):
        read_image(tmp_path / "drawing.jpg")


@pytest.mark.parametrize(
    "suffix", ["jpg", "png", "webp", "gif", "bmp", "tif", "ppm", "jp2"]
)
def test_the_usual_formats_are_read(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (16, 8), (9, 99, 199)).save(tmp_path / f"a.{suffix}")
    assert (
        np.abs(read_image(tmp_path / f"a.{suffix}").astype(int) - [9, 99, 199]).max()
        < 12
    )


@pytest.mark.parametrize(
    "error", [TypeError("odd"), struct.error("short"), RuntimeError(), KeyError(274)]
)
def test_broken_exif_data_leave_the_picture_as_it_lies(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise error

    Image.new("RGB", (6, 4)).save(tmp_path / "a.png")
    monkeypatch.setattr("PIL.ImageOps.exif_transpose", broken)
    assert read_image(tmp_path / "a.png").shape == (4, 6, 3)


SEEDS = [
    ("JPEG", "RGB"),
    ("PNG", "RGB"),
    ("PNG", "P"),
    ("GIF", "P"),
    ("TIFF", "RGB"),
    ("BMP", "RGB"),
]


@given(data=st.data(), seed=st.sampled_from(SEEDS))
@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_damage_is_an_image_or_an_image_error(
    tmp_path: Path, data: st.DataObject, seed: tuple[str, str]
) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "words"
    file = BytesIO()
    Image.linear_gradient("L").resize((12, 8)).convert(seed[1]).save(
        file, seed[0], exif=exif
    )
    content = bytearray(file.getvalue())
    for place in data.draw(
        st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)
    ):
        content[place] = data.draw(st.sampled_from([0, 1, 127, 255]))
    (tmp_path / "a.jpg").write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        assert read_image(tmp_path / "a.jpg").shape[2] == 3
    except ImageError as error:
        assert "a.jpg" in str(error)


@pytest.mark.parametrize(
    "error", [MemoryError(), NotImplementedError("mode"), struct.error("short")]
)
def test_whatever_a_decoder_raises_names_the_file(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise error

    Image.new("RGB", (6, 4)).save(tmp_path / "a.png")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", broken)
    with pytest.raises(
        ImageError, match=rf"a\.png cannot be decoded \({str(error) or 'MemoryError'}\)"
    ):
        read_image(tmp_path / "a.png")


def test_real_images_are_read(shared: Path) -> None:
    files = sorted((shared / "data" / "images").rglob("*.jpg"))
    assert len(files) > 20
    for file in files[:40]:
        assert read_image(file).shape[2] == 3
