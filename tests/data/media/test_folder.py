"""Files are found by name, kept by their whole path, and read by the decoder that was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mplug2.data.media import folder as module
from mplug2.data.media.folder import MediaFolder
from mplug2.data.media.image import ImageError
from mplug2.data.media.video import Clip, VideoError, read_frames
from mplug2.data.shapes.write import encode
from registry.language.ports import StreamType

IMAGE = StreamType("image", ("V", 3, 8, 8))
FRAMES = StreamType("frames", ("V", 3, 4, 8, 8))


def test_files_of_the_same_name_in_two_folders_stay_two(tmp_path: Path) -> None:
    for folder, grey in (("a", 0), ("b", 255)):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (8, 8), (grey,) * 3).save(tmp_path / folder / "1.png")
        encode(tmp_path / folder / "1.mp4", np.full((6, 32, 32, 3), grey, np.uint8))
    rng = np.random.default_rng(0)
    for stream, name in ((IMAGE, "{}/1.png"), (FRAMES, "{}/1")):
        kept = MediaFolder(tmp_path, "x", stream, cache=1)
        for _ in range(2):
            dark, bright = (kept.read(name.format(folder), rng).mean() for folder in "ab")
            assert dark < -1 < 1 < bright


@pytest.mark.parametrize("cache", [0, 1])
def test_the_chosen_decoder_reads_with_and_without_a_cache(
    tmp_path: Path, cache: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode(tmp_path / "v.mp4", np.zeros((6, 32, 32, 3), np.uint8))
    asked = []

    def read(*given: Any, decoder: str = "av", **more: Any) -> Clip:
        asked.append(decoder)
        return read_frames(*given, **more)

    monkeypatch.setattr(module, "read_frames", read)
    MediaFolder(tmp_path, "video", FRAMES, decoder="decord", cache=cache).read("v", np.random.default_rng(0))
    assert asked == ["decord"]


def test_a_name_that_is_too_long_for_any_file_is_a_file_that_does_not_exist(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ImageError, match="does not exist"):
        MediaFolder(tmp_path, "image", IMAGE).read("a" * 300 + ".png", rng)
    with pytest.raises(VideoError, match="does not exist"):
        MediaFolder(tmp_path, "video", FRAMES).read("a" * 300, rng)
