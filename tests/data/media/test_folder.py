"""Files are found by name, kept by their whole path, and read by the decoder that was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mplug2.data.media import folder as module
from mplug2.data.media.folder import MediaFolder
from mplug2.data.media.frames import frame_indices
from mplug2.data.media.image import ImageError
from mplug2.data.media.transforms import eval_transform
from mplug2.data.media.video import Clip, read_frames
from mplug2.data.media.video_file import VideoError
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
            dark, bright = (
                kept.read(name.format(folder), rng).mean() for folder in "ab"
            )
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
    MediaFolder(tmp_path, "video", FRAMES, decoder="decord", cache=cache).read(
        "v", np.random.default_rng(0)
    )
    assert asked == ["decord"]


def test_a_name_that_is_too_long_for_any_file_is_a_file_that_does_not_exist(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ImageError, match="does not exist"):
        MediaFolder(tmp_path, "image", IMAGE).read("a" * 300 + ".png", rng)
    with pytest.raises(VideoError, match="does not exist"):
        MediaFolder(tmp_path, "video", FRAMES).read("a" * 300, rng)


def noise(path: Path, frames: int, height: int, width: int) -> Path:
    encode(
        path,
        np.random.default_rng(7).integers(
            0, 255, (frames, height, width, 3), dtype=np.uint8
        ),
    )
    return path


@pytest.mark.parametrize("cache", [0, 4])
def test_frames_that_are_reduced_as_they_are_decoded_are_those_of_the_transform(
    tmp_path: Path, cache: int
) -> None:
    file = noise(tmp_path / "v.mp4", 70, 46, 90)
    folder = MediaFolder(tmp_path, "video", FRAMES, cache=cache)
    chosen = read_frames(file, lambda total: frame_indices(total, 4)).frames
    for _ in range(2):
        clip = folder.clip(file, np.random.default_rng(0))
        assert clip.shape == (
            4,
            8,
            8,
            3,
        )  # also in the cache, however large or long the video is
        assert torch.equal(
            folder.read("v", np.random.default_rng(0)), eval_transform(chosen, 8)
        )


@pytest.mark.parametrize(
    ("room", "is_kept"), [(10 * 46 * 90 * 3, True), (10 * 46 * 90 * 3 - 1, False)]
)
def test_a_video_that_training_crops_is_kept_if_all_its_frames_fit(
    tmp_path: Path, room: int, is_kept: bool
) -> None:
    file = noise(tmp_path / "v.mp4", 10, 46, 90)
    folder = MediaFolder(
        tmp_path, "video", FRAMES, training=True, augment="crop", cache=1
    )
    folder._room = room
    without = MediaFolder(tmp_path, "video", FRAMES, training=True, augment="crop")
    for seed in range(3):
        clips = [
            media.clip(file, np.random.default_rng(seed)) for media in (folder, without)
        ]
        assert np.array_equal(*clips)
    assert folder._room == (0 if is_kept else room)


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"max_pixels": 4000}, r"has frames of 90x46 pixels; at most 4000 are read"),
        ({"max_frames": 9}, "has more than 9 frames"),
    ],
)
def test_a_video_beyond_a_limit_is_refused(
    tmp_path: Path, limit: dict[str, int], message: str
) -> None:
    noise(tmp_path / "v.mp4", 10, 46, 90)
    with pytest.raises(VideoError, match=message):
        MediaFolder(tmp_path, "video", FRAMES, **limit).read(
            "v", np.random.default_rng(0)
        )


def test_an_image_beyond_a_limit_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (90, 46)).save(tmp_path / "a.png")
    folder = MediaFolder(tmp_path, "image", IMAGE, max_pixels=4000)
    with pytest.raises(ImageError, match="has 90x46 pixels; at most 4000 are read"):
        folder.read("a.png", np.random.default_rng(0))
