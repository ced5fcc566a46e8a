"""The sheet of errors: pictures of images and videos, texts without pictures, and nothing that runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mplug2.data.media.folder import MediaFolder
from mplug2.data.shapes.write import encode
from mplug2.predict.errors_sheet import error_result, write_errors
from registry import StreamType

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image, a video and a broken image."""
    path = tmp_path_factory.mktemp("media")
    pixels = np.random.default_rng(0).integers(0, 255, (10, 32, 48, 3), np.uint8)
    Image.fromarray(pixels[0]).save(path / "a.png")
    encode(path / "clip.mp4", pixels)
    (path / "broken.png").write_bytes(b"no image")
    return path


def images(folder: Path) -> MediaFolder:
    return MediaFolder(folder, "image", StreamType("image", ("V", 3, 16, 16)))


def row(**more: Any) -> dict[str, Any]:
    return {
        "question_id": 3,
        "prediction": "dog",
        "score": 0.9,
        "answers": ["cat"],
    } | more


def test_a_page_has_the_pictures_and_escapes_every_text(
    folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "worst.html"
    rows = [
        row(image="a.png", question=EVIL),
        row(image="a.png", prediction=EVIL, answers=[EVIL]),
        row(sentence=EVIL),
        row(image="broken.png"),
    ]
    source: Any = SimpleNamespace(media=images(folder))
    write_errors(path, EVIL, rows, source)
    page = path.read_text()
    assert "<script" not in page
    assert page.count("data:image/jpeg;base64,") == 2
    assert page.count("<article") == 4
    assert "cannot be read" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; (true: cat)" in page


def test_a_video_shows_four_frames_and_a_pair_both_images(folder: Path) -> None:
    stream = StreamType("frames", ("V", 3, 2, 16, 16))
    result = error_result(row(video_id="clip"), MediaFolder(folder, "video", stream))
    assert [len(look.pictures) for look in result.looks] == [4]
    assert (result.looks[0].width, result.looks[0].height) == (48, 32)
    pair = error_result(row(images=["a.png", "a.png"]), images(folder))
    assert len(pair.looks) == 2
    assert pair.media == ("a.png", "a.png")


def test_a_row_about_texts_shows_them() -> None:
    result = error_result(row(sentence1="Dogs run.", sentence2="Cats run."), None)
    assert result.question == "Dogs run. / Cats run. (true: cat)"
    assert result.media == ("sample 3",)
    assert result.looks == ()
