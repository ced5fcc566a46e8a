"""Regions as tokens: where a mask, a type and padding go."""

from __future__ import annotations

import pytest
import torch

from modules.regions import RegionEmbedding, box_location
from modules.streams import Regions


def example() -> Regions:
    torch.manual_seed(0)
    corners = torch.rand(2, 3, 2, 2).sort(dim=-2).values
    return Regions(
        torch.randn(2, 3, 5),
        corners.flatten(-2),
        torch.tensor([[True] * 3, [True, False, False]]),
    )


def test_a_location_is_the_box_with_its_size_and_area() -> None:
    location = box_location(torch.tensor([0.25, 0.5, 0.75, 1.0]))
    assert location.tolist() == [0.25, 0.5, 0.75, 1.0, 0.5, 0.5, 0.25]


def test_a_masked_region_has_one_feature_for_all() -> None:
    embedding, regions = RegionEmbedding(5, 8, dropout=0.0), example()
    masked = torch.tensor([[False, True, False], [True, False, False]])
    plain = embedding(regions)
    hidden = embedding(regions, masked)
    assert torch.equal(plain.values[~masked], hidden.values[~masked])
    assert not torch.equal(plain.values[masked], hidden.values[masked])
    other = regions._replace(
        features=regions.features.masked_fill(masked[..., None], 9.0)
    )
    assert torch.equal(embedding(other, masked).values, hidden.values)
    hidden.values[masked].square().sum().backward()
    gradient = embedding.mask.weight.grad
    assert gradient is not None
    assert gradient[0].abs().sum() == 0
    assert gradient[1].abs().sum() > 0


def test_the_type_and_the_mask_of_padding() -> None:
    embedding, regions = RegionEmbedding(5, 8, types=3, dropout=0.0), example()
    first, second = embedding(regions), embedding(regions, segment=2)
    assert first.mask is regions.mask
    assert not torch.allclose(first.values, second.values)
    embedding.kind.weight.data[2] = embedding.kind.weight[1]
    assert torch.equal(embedding(regions, segment=2).values, first.values)
    with pytest.raises(ValueError, match="segment must be 0 to 2, but is 3"):
        embedding(regions, segment=3)
