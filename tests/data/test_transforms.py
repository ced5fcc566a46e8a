"""The deterministic parts of the transforms equal the recorded ones of the released (OpenCV) code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from mplug2.data.randaugment import NAMES, apply, rand_augment
from mplug2.data.transforms import eval_transform, random_box, resize_bicubic, train_transform


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
def test_augmentations_equal_opencv_to_one_grey_level(recorded: dict[str, np.ndarray], name: str) -> None:
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


def test_only_full_may_mirror_a_clip() -> None:
    ramp = np.broadcast_to(np.arange(0, 240, 4, dtype=np.uint8)[None, None, :, None], (2, 40, 60, 3)).copy()

    def rises(augment: str, seed: int) -> bool:
        out = train_transform(ramp, 16, augment, np.random.default_rng(seed))
        return bool(out[0, 0, 8, 12] > out[0, 0, 8, 3])

    assert all(rises("crop", seed) for seed in range(40))
    assert torch.equal(train_transform(ramp, 16, "none", np.random.default_rng(0)), eval_transform(ramp, 16))
    assert not all(rises("full", seed) for seed in range(40))


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
    outcomes = [rand_augment(frames, np.random.default_rng(seed)) for seed in (1, 1, 2, 3)]
    assert torch.equal(outcomes[0], outcomes[1])
    assert not (torch.equal(outcomes[0], outcomes[2]) and torch.equal(outcomes[0], outcomes[3]))
