"""The deterministic parts of the transforms equal the recorded ones of the released (OpenCV) code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from quick import mostly_slow
from safetensors.numpy import load_file

from mplug2.data.media.folder import MediaFolder
from mplug2.data.media.image import resize
from mplug2.data.media.randaugment import IMAGE_NAMES, NAMES, apply, rand_augment
from mplug2.data.media.transforms import (
    eval_picture,
    eval_transform,
    random_box,
    resize_bicubic,
    resize_nearest,
    train_picture,
    train_transform,
)
from registry.language.ports import StreamType


@pytest.fixture(scope="module")
def recorded(shared: Path) -> dict[str, np.ndarray]:
    return load_file(shared / "reference/parity/mplug2/data/transforms.safetensors")


@pytest.fixture
def clip() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 30, 40, 3), dtype=np.uint8)


def test_the_evaluation_transform_is_bit_equal(recorded: dict[str, np.ndarray]) -> None:
    ours = eval_transform(recorded["clip_uint8"], 16)
    assert ours.dtype == torch.float32
    assert np.array_equal(ours.numpy(), recorded["test_out_16"])


@pytest.mark.parametrize("size", mostly_slow([7, 224, 336, 384], [224]))
def test_nearest_resizing_equals_that_of_torch_for_every_length(size: int) -> None:
    differ = []
    for length in range(1, 2130):
        pixels = np.arange(length, dtype=np.int32)
        frames = np.broadcast_to(pixels[None, :, None, None], (1, length, size + 1, 1))
        ours = resize_nearest(frames, size)[0, :, 0, 0]
        row = torch.from_numpy(pixels.astype(np.float32))[None, None]
        theirs = torch.nn.functional.interpolate(row, size, mode="nearest")[
            0, 0
        ].numpy()
        if not np.array_equal(ours, theirs):
            differ.append(length)
    assert differ == []


@pytest.mark.parametrize(
    ("source", "expected", "size"),
    [
        ("clip_uint8", "train_crop_box3_5_20_25_bicubic_16_long", 16),
        ("edge_clip_uint8", "edge_crop_bicubic_32_long", 32),
    ],
)
def test_a_bicubic_crop_is_bit_equal_and_clipped(
    recorded: dict[str, np.ndarray], source: str, expected: str, size: int
) -> None:
    crop = torch.from_numpy(recorded[source][:, 3:23, 5:30]).permute(0, 3, 1, 2)
    ours = resize_bicubic(crop, size).permute(0, 2, 3, 1)
    assert recorded[expected].max() > 255  # what the released code lets wrap around
    assert np.array_equal(ours.numpy(), recorded[expected].clip(0, 255))


@pytest.mark.parametrize("name", NAMES)
def test_augmentations_equal_opencv_to_one_grey_level(
    recorded: dict[str, np.ndarray], name: str
) -> None:
    frames = torch.from_numpy(recorded["clip_uint8"]).permute(0, 3, 1, 2).float()
    ours = apply(name, frames)[0].permute(1, 2, 0).numpy()
    difference = np.abs(ours - recorded[f"aug_{name}"].astype(np.float32))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.05


@pytest.mark.parametrize("augment", ["crop", "full"])
def test_every_frame_is_augmented_alike(clip: np.ndarray, augment: str) -> None:
    still = np.repeat(clip[:1], 4, axis=0)
    for seed in range(8):
        out = train_transform(still, 24, augment, np.random.default_rng(seed))
        assert out.shape == (3, 4, 24, 24)
        assert torch.equal(out, out[:, :1].expand_as(out))


def test_a_crop_does_not_mirror_a_clip() -> None:
    ramp = np.broadcast_to(
        np.arange(0, 240, 4, dtype=np.uint8)[None, None, :, None], (2, 40, 60, 3)
    ).copy()

    def rises(augment: str, seed: int) -> bool:
        out = train_transform(ramp, 16, augment, np.random.default_rng(seed))
        return bool(out[0, 0, 8, 12] > out[0, 0, 8, 3])

    assert all(rises("crop", seed) for seed in range(40))
    assert torch.equal(
        train_transform(ramp, 16, "none", np.random.default_rng(0)),
        eval_transform(ramp, 16),
    )


def test_random_boxes_keep_area_and_ratio() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        top, left, height, width = random_box(120, 160, rng)
        assert 0 <= top <= 120 - height
        assert 0 <= left <= 160 - width
        assert 0.48 <= height * width / (120 * 160) <= 1.01
        assert 0.72 <= width / height <= 1.38
    assert random_box(1, 400, rng)[2:] == (1, 1)  # no fitting crop: the central one


def test_stronger_levels_change_colours(clip: np.ndarray) -> None:
    frames = torch.from_numpy(clip).permute(0, 3, 1, 2).float()
    for name in ("Contrast", "Brightness", "Sharpness"):
        assert torch.equal(apply(name, frames, 5), frames)
        changed = apply(name, frames, 9)
        assert changed.shape == frames.shape
        assert not torch.equal(changed, frames)
        assert changed.min() >= 0
        assert changed.max() <= 255


def test_rand_augment_is_a_function_of_its_seed(clip: np.ndarray) -> None:
    frames = torch.from_numpy(clip).permute(0, 3, 1, 2).float()
    outcomes = [
        rand_augment(frames, np.random.default_rng(seed)) for seed in (1, 1, 2, 3)
    ]
    assert torch.equal(outcomes[0], outcomes[1])
    assert not (
        torch.equal(outcomes[0], outcomes[2]) and torch.equal(outcomes[0], outcomes[3])
    )


def test_images_are_made_small_without_moire_in_training_too(tmp_path: Path) -> None:
    board = (
        (np.indices((300, 400)).sum(0) % 2 * 255)
        .astype(np.uint8)[..., None]
        .repeat(3, -1)
    )
    Image.fromarray(board).save(tmp_path / "board.png")
    stream = StreamType("image", ("V", 3, 64, 64))
    data = MediaFolder(tmp_path, "image", stream, training=True, augment="crop")
    grey = eval_picture(np.full((64, 64, 3), 128, np.uint8), 64)
    for seed in range(8):
        small = data.read("board.png", np.random.default_rng(seed))
        assert (small - grey).abs().max() < 0.15, "a fine pattern becomes its mean"


def test_a_crop_of_an_image_is_resized_as_evaluation_resizes() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    ours = train_picture(pixels, 32, "crop", np.random.default_rng(5))
    top, left, height, width = random_box(90, 120, np.random.default_rng(5))
    assert torch.equal(
        ours, eval_picture(pixels[top : top + height, left : left + width], 32)
    )
    assert torch.equal(
        train_picture(pixels, 32, "none", np.random.default_rng(0)),
        eval_picture(pixels, 32),
    )
    assert torch.equal(
        eval_picture(pixels, 32), eval_transform(resize(pixels, 32, 32)[None], 32)[:, 0]
    )
    with pytest.raises(ValueError, match="augment must be"):
        train_picture(pixels, 32, "some", np.random.default_rng(0))


def test_images_have_the_operations_of_mplug(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    drawn: list[str] = []

    def note(name: str, clip: torch.Tensor, level: int, sign: float) -> torch.Tensor:
        drawn.append(name)
        assert level == 7
        return clip

    monkeypatch.setattr("mplug2.data.media.randaugment.apply", note)
    for seed in range(400):
        train_picture(pixels, 16, "full", np.random.default_rng(seed))
    assert set(drawn) == set(IMAGE_NAMES)
    assert 320 < len(drawn) < 480, "two operations, each once in two"


@pytest.mark.parametrize(
    ("name", "tone"),
    [("AutoContrast", ImageOps.autocontrast), ("Equalize", ImageOps.equalize)],
)
def test_tones_equal_those_of_pillow(
    name: str, tone: Callable[[Image.Image], Image.Image]
) -> None:
    pixels = np.random.default_rng(0).integers(40, 130, (30, 20, 3), dtype=np.uint8)
    frames = (
        torch.from_numpy(np.stack([pixels, 255 - pixels])).permute(0, 3, 1, 2).float()
    )
    out = apply(name, frames, 7)
    assert out.dtype == torch.float32
    for ours, given in zip(out, (pixels, 255 - pixels), strict=True):
        expected = np.array(tone(Image.fromarray(given)))
        assert np.array_equal(ours.permute(1, 2, 0).numpy(), expected)
        assert np.ptp(expected) > np.ptp(given)
