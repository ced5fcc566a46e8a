"""Clips and crops of a file at test, and random clips in training, compared with numbers computed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mplug2.data.arguments import ArgumentError
from mplug2.data.media.class_views import ClassViews, resize_shorter_side
from mplug2.data.media.folder import MediaFolder
from mplug2.data.media.frames import (
    dense_clip,
    frame_indices,
    last_dense_start,
    uniform_clip,
)
from mplug2.data.shapes.write import encode
from registry import StreamType

FRAMES = StreamType("frames", ("B", 3, 2, 8, 8))
IMAGE = StreamType("image", ("B", 3, 8, 8))


def test_uniform_clips_by_hand() -> None:
    # intervals 0..5 and 6..11, each in three parts: 0 1, 2 3, 4 5
    assert [uniform_clip(12, 2, clip, 3) for clip in range(3)] == [
        [0, 6],
        [2, 8],
        [4, 10],
    ]
    assert uniform_clip(1, 3) == [0, 0, 0]
    for total in range(1, 40):
        for count in range(1, 9):
            assert uniform_clip(total, count) == frame_indices(total, count, "middle")
            for clip in range(4):
                chosen = uniform_clip(total, count, clip, 4)
                assert chosen == sorted(chosen)
                assert 0 <= chosen[0] <= chosen[-1] < total


def test_dense_clips_by_hand() -> None:
    assert dense_clip(20, 4, 3, 5) == [5, 8, 11, 14]
    assert dense_clip(10, 4, 3, 5) == [5, 8, 9, 9]
    assert last_dense_start(20, 4, 3) == 10
    assert last_dense_start(5, 4, 3) == 0
    views = ClassViews("dense", frame_stride=3, clips=3)
    clips = [views.test_frames(20, 4, clip) for clip in range(3)]
    assert clips == [[0, 3, 6, 9], [5, 8, 11, 14], [10, 13, 16, 19]]
    assert ClassViews("dense", frame_stride=3).test_frames(20, 4, 0) == [5, 8, 11, 14]


def test_random_clips_stay_in_the_video_and_reach_both_ends() -> None:
    rng = np.random.default_rng(0)
    dense = [
        ClassViews("dense", frame_stride=3).train_frames(20, 4, rng) for _ in range(200)
    ]
    assert {clip[0] for clip in dense} == set(range(11))
    assert all(np.diff(clip).tolist() == [3, 3, 3] for clip in dense)
    uniform = [ClassViews().train_frames(20, 4, rng) for _ in range(200)]
    assert {frames[1] // 5 for frames in uniform} == {1}


def coded_video(folder: Path, frames: int = 12) -> MediaFolder:
    """Write a video whose frames get brighter, dark on the left and bright on the right; [24 rows, 48]."""
    columns = np.arange(48)[None, None, :, None] * 2.0
    clip = np.broadcast_to(
        columns + np.arange(frames)[:, None, None, None] * 10, (frames, 24, 48, 3)
    )
    encode(folder / "v.mp4", clip.astype(np.uint8))
    return MediaFolder(
        folder, "video", FRAMES, mean=0.0, std=1 / 255
    )  # values stay those of the file


@pytest.mark.parametrize("cache", [0, 1])
def test_views_are_clips_times_crops_and_are_decoded_at_once(
    tmp_path: Path, cache: int
) -> None:
    media = coded_video(tmp_path)
    media._room = cache << 20
    views = ClassViews(clips=2, crops=3)
    assert (views.number, views.middle) == (6, 4)
    pixels = views.read(media, "v", range(6))
    assert pixels.shape == (6, 3, 2, 8, 8)
    means = pixels.mean(dim=(1, 3, 4))  # of each view and frame
    # frames 1 and 7, then 4 and 10 (thirds of the halves 0..5 and 6..11 would be 2 and 4)
    expected = torch.tensor(
        [[frame * 10.0 for frame in clip] for clip in ([1, 7], [4, 10])]
    )
    # the crops of a third each: columns 0..23, 12..35, 24..47 of the file
    columns = torch.tensor([23.0, 47.0, 71.0])
    torch.testing.assert_close(
        means.view(2, 3, 2),
        expected[:, None] + columns[None, :, None],
        atol=3.0,
        rtol=0,
    )
    assert torch.equal(views.read(media, "v", [4])[0], pixels[4])


def test_crops_of_images_by_hand(tmp_path: Path) -> None:
    pixels = np.zeros((32, 8, 3), np.uint8)
    pixels[:, :, 0] = np.arange(32)[
        :, None
    ]  # higher than wide: the crops lie below each other
    Image.fromarray(pixels).save(tmp_path / "a.png")
    media = MediaFolder(tmp_path, "image", IMAGE, mean=0.0, std=1 / 255)
    crops = ClassViews(crops=3).read(media, "a.png", range(3))
    assert [crop[0, 0, 0].round().item() for crop in crops] == [0, 12, 24]
    centre = ClassViews(crops=1).read(media, "a.png", [0])
    torch.testing.assert_close(centre[0], crops[1])
    squeezed = ClassViews().read(media, "a.png", [0])
    assert squeezed[0, 0, 0, 0] < 4 < 27 < squeezed[0, 0, -1, 0]
    # with half of the side the centre is the middle quarter of the width: resized to 16, 8 remain
    assert ClassViews(crops=1, crop_fraction=0.5).read(media, "a.png", [0]).shape == (
        1,
        3,
        8,
        8,
    )


def test_the_shorter_side_gets_the_size() -> None:
    assert resize_shorter_side(np.zeros((2, 20, 30, 3), np.uint8), 10).shape == (
        2,
        3,
        10,
        15,
    )
    assert resize_shorter_side(np.zeros((2, 31, 20, 3), np.uint8), 10).shape == (
        2,
        3,
        16,
        10,
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clips": 0}, "clips must be at least 1"),
        ({"frame_stride": 0}, "frame_stride must be at least 1"),
        ({"crop_fraction": 0.0}, "crop_fraction must be more than 0"),
        ({"crop_fraction": 1.5}, "crop_fraction must be more than 0 and at most 1"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        ClassViews(**settings)
