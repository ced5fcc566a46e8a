"""Regions from patches: a box of one colour has its feature, a grid has its cells, a box has its region."""

from __future__ import annotations

import pytest
import torch

from modules.region_ops import (
    best_box,
    grid_regions,
    region_of_box,
    roi_align,
    take_regions,
)
from modules.streams import Regions, Tokens

EDGE = 4
QUARTERS = torch.tensor(
    [
        [
            [0.0, 0.0, 0.5, 0.5],
            [0.5, 0.0, 1.0, 0.5],
            [0.0, 0.5, 0.5, 1.0],
            [0.5] * 2 + [1.0] * 2,
        ]
    ]
)


def patches() -> Tokens:
    """An image whose quarters have the values 0 to 3, after a class token."""
    grid = torch.arange(4.0).view(2, 2).repeat_interleave(2, 0).repeat_interleave(2, 1)
    values = torch.cat([torch.tensor([99.0]), grid.flatten()])
    return Tokens(values[None, :, None])


def test_a_box_takes_the_features_under_it() -> None:
    mask = torch.tensor([[True, True, True, False]])
    regions = roi_align(patches(), Regions(torch.zeros(1, 4, 0), QUARTERS, mask))
    # Samples at the middle of two patches of one value: the value itself.
    assert regions.features.flatten().tolist() == pytest.approx(
        [0.0, 1.0, 2.0, 3.0], abs=0.3
    )
    order = regions.features.flatten().argsort()
    assert order.tolist() == [0, 1, 2, 3]
    assert regions.mask is mask
    complete = Regions(torch.zeros(1, 1, 0), torch.tensor([[[0.0, 0.0, 1.0, 1.0]]]))
    assert roi_align(patches(), complete).features.item() == pytest.approx(1.5)


def test_gradients_reach_the_patches_under_a_box_alone() -> None:
    values = patches().values.requires_grad_()
    regions = Regions(torch.zeros(1, 1, 0), torch.tensor([[[0.0, 0.0, 0.25, 0.25]]]))
    roi_align(Tokens(values), regions, bins=1).features.sum().backward()
    assert values.grad is not None
    assert values.grad[0, :, 0].nonzero().flatten().tolist() == [1]


def test_patches_are_regions_of_a_grid() -> None:
    tokens = patches()
    regions = grid_regions(tokens)
    assert torch.equal(regions.features, tokens.values[:, 1:])
    assert regions.boxes[0, 0].tolist() == [0.0, 0.0, 0.25, 0.25]
    assert regions.boxes[0, EDGE + 2].tolist() == [0.5, 0.25, 0.75, 0.5]
    torch.testing.assert_close(
        roi_align(tokens, regions, bins=1).features, regions.features
    )
    with pytest.raises(ValueError, match="patches must form a square, but are 17"):
        grid_regions(tokens, has_class=False)


def test_the_region_of_a_box_and_the_box_of_a_region() -> None:
    mask = torch.tensor([[True, True, True, False]])
    regions = take_regions(
        Regions(torch.zeros(1, 4, 0), QUARTERS, mask), torch.zeros(3, dtype=torch.long)
    )
    box = torch.tensor(
        [[0.5, 0.0, 0.9, 0.5], [0.3, 0.3, 0.7, 0.7], [0.5, 0.5, 1.0, 1.0]]
    )
    # The second box overlaps all a little, the third only padding.
    assert region_of_box(regions, box).tolist() == [1, -1, -1]
    logits = torch.tensor(
        [[0.0, 3.0, 1.0, 9.0], [5.0, 3.0, 1.0, 9.0], [0.0, 0.0, 1.0, 9.0]]
    )
    assert best_box(logits, regions).tolist() == QUARTERS[0, [1, 0, 2]].tolist()
