"""Mixup and cutmix: media and targets compared with numbers computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mplug2.data.arguments import ArgumentError
from mplug2.data.media.mixing import BatchMixing, cut_and_paste

TARGETS = torch.tensor([[1.0, 0.0], [0.0, 1.0]])


def test_a_box_and_its_area_by_hand() -> None:
    media = torch.zeros(2, 1, 8, 8)
    media[1] = 1.0
    # weight 0.75: a box of half the side, 4 x 4 of 8 x 8, around (4, 4)
    mixed, weight = cut_and_paste(media, 0.75, (4, 4))
    assert weight == 0.75
    assert mixed[0].sum() == 16
    assert mixed[0, 0, 2:6, 2:6].all()
    assert mixed[1].sum() == 64 - 16
    # in the corner a quarter of the box remains: 4 pixels
    mixed, weight = cut_and_paste(media, 0.75, (0, 0))
    assert (mixed[0].sum().item(), weight) == (4.0, 1 - 4 / 64)
    assert media[0].sum() == 0  # not changed in place


def test_mixup_by_hand() -> None:
    media = torch.tensor([0.0, 10.0]).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    weight = np.random.default_rng(5).beta(0.8, 0.8)
    mixed, targets = BatchMixing(mixup=0.8)(media, TARGETS, np.random.default_rng(5))
    torch.testing.assert_close(mixed[0], torch.full((3, 4, 4), 10 * (1 - weight)))
    torch.testing.assert_close(mixed[1], torch.full((3, 4, 4), 10 * weight))
    torch.testing.assert_close(
        targets, torch.tensor([[weight, 1 - weight], [1 - weight, weight]]).float()
    )


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 3, 5, 8, 8)])
def test_targets_have_the_weights_of_the_pixels(shape: tuple[int, ...]) -> None:
    media = torch.zeros(shape)
    media[1] = 1.0
    for seed in range(50):
        for mixing in (
            BatchMixing(cutmix=1.0),
            BatchMixing(mixup=0.8),
            BatchMixing(0.8, 1.0),
        ):
            mixed, targets = mixing(media, TARGETS, np.random.default_rng(seed))
            assert targets[0, 1].item() == pytest.approx(
                mixed[0].mean().item(), abs=1e-6
            )
            assert targets[1, 1].item() == pytest.approx(
                mixed[1].mean().item(), abs=1e-6
            )
            torch.testing.assert_close(targets.sum(dim=1), torch.ones(2))


def test_with_both_each_is_drawn_and_an_odd_row_stays() -> None:
    media = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 1, 8, 8)
    kinds = set()
    for seed in range(40):
        mixed, targets = BatchMixing(0.8, 1.0)(
            media, torch.eye(3), np.random.default_rng(seed)
        )
        torch.testing.assert_close(mixed[1], media[1])
        torch.testing.assert_close(targets[1], torch.eye(3)[1])
        kinds.add(set(mixed[0].unique().tolist()) <= {0.0, 2.0})
    assert kinds == {True, False}


def test_it_may_be_off_and_wrong_numbers_are_refused() -> None:
    assert not BatchMixing().active
    for name in ("mixup", "cutmix"):
        with pytest.raises(
            ArgumentError, match=f"{name} must be 0 .never. or a positive number"
        ):
            BatchMixing(**{name: -0.5})
        with pytest.raises(ArgumentError, match=f"{name} must be 0"):
            BatchMixing(**{name: math.inf})
