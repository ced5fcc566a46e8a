"""Augmentation for networks of classes: every setting acts, and follows from the random numbers alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mplug2.data.arguments import ArgumentError
from mplug2.data.media.class_augmentation import (
    ClassAugmentation,
    checked_scale,
    erase_box,
)
from mplug2.data.media.class_views import ClassViews
from mplug2.data.media.folder import MediaFolder
from mplug2.data.shapes.write import encode
from registry import StreamType

TYPES = {
    "image": StreamType("image", ("B", 3, 16, 16)),
    "frames": StreamType("frames", ("B", 3, 4, 16, 16)),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ramp = (
        np.arange(32, dtype=np.uint8)[None, :, None] * np.ones((32, 1, 3), np.uint8) * 8
    )
    Image.fromarray(ramp).save(tmp_path / "a.png")
    encode(tmp_path / "a.mp4", np.stack([ramp] * 6))
    return tmp_path


def view(
    folder: Path, kind: str, seed: int, augment: Any = "none", **settings: Any
) -> torch.Tensor:
    media = MediaFolder(folder, "x", TYPES[kind], training=True, augment=augment)
    augmentation = ClassAugmentation(**{"crop_scale": (0.5, 1.0), **settings})
    name = "a.png" if kind == "image" else "a"
    return augmentation.read(media, name, ClassViews(), np.random.default_rng(seed))


@pytest.mark.parametrize("kind", ["image", "frames"])
def test_flips_and_erasing_act_once_in_two(folder: Path, kind: str) -> None:
    plain = view(folder, kind, 0)
    flipped = erased = 0
    for seed in range(40):
        flipped += torch.equal(view(folder, kind, seed, flip=True), plain.flip(-1))
        erased += not torch.equal(view(folder, kind, seed, erase=0.5), plain)
        assert torch.equal(
            view(folder, kind, seed, erase=1.0), view(folder, kind, seed, erase=1.0)
        )
    assert 10 < flipped < 30
    assert 10 < erased < 30


def test_a_box_is_erased_in_all_frames() -> None:
    pixels = torch.full((3, 4, 64, 64), 7.0)
    fractions = []
    for seed in range(60):
        erased = erase_box(pixels, np.random.default_rng(seed))
        changed = erased != pixels
        assert (changed == changed[0, 0]).all()
        fractions.append(changed.float().mean().item())
    assert 0.015 < min(fractions) < max(fractions) < 0.35
    assert pixels.unique().tolist() == [7.0]


@pytest.mark.parametrize("kind", ["image", "frames"])
def test_the_scale_of_crops_and_the_strength_of_randaugment(
    folder: Path, kind: str
) -> None:
    # the grey ramp of the complete width, or of a small part of it
    complete = [
        view(folder, kind, seed, "crop", crop_scale=(1.0, 1.0)).std().item()
        for seed in range(20)
    ]
    small = [
        view(folder, kind, seed, "crop", crop_scale=(0.1, 0.1)).std().item()
        for seed in range(20)
    ]
    assert max(small) < min(complete)
    released = 5 if kind == "frames" else 7
    for seed in range(5):
        default = view(folder, kind, seed, "full")
        assert torch.equal(view(folder, kind, seed, "full", level=released), default)
    others = [view(folder, kind, seed, "full", level=10) for seed in range(10)]
    defaults = [view(folder, kind, seed, "full") for seed in range(10)]
    assert sum(not torch.equal(a, b) for a, b in zip(others, defaults, strict=True)) > 3


def test_wrong_settings_are_refused() -> None:
    for scale in ([0.0, 1.0], [0.9, 0.5], [0.5], [0.5, 1.5]):
        with pytest.raises(
            ArgumentError, match="crop_scale must be two fractions of the area"
        ):
            checked_scale(scale)
    with pytest.raises(ArgumentError, match="erase must be 0 to 1"):
        ClassAugmentation((0.5, 1.0), erase=1.5)
    with pytest.raises(ArgumentError, match="rand_augment_level must be 0 to 10"):
        ClassAugmentation((0.5, 1.0), level=11)
