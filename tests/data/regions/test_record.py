"""Which regions are read, and a batch of them."""

from __future__ import annotations

import numpy as np
import pytest

from mplug2.data.regions.record import RegionRecord, batch_regions, confident


def record(count: int, width: int = 2) -> RegionRecord:
    rng = np.random.default_rng(count)
    features = rng.random((count, width), dtype=np.float32)
    confidence = np.linspace(1, 0, count, dtype=np.float32)
    return RegionRecord(
        features, rng.random((count, 4), dtype=np.float32), confidence, features
    )


@pytest.mark.parametrize(
    ("least", "fewest", "most", "count"),
    [(0.45, 1, 9, 3), (0.95, 2, 9, 2), (0.0, 1, 4, 4), (2.0, 8, 9, 5)],
)
def test_confidence_decides_how_many(
    least: float, fewest: int, most: int, count: int
) -> None:
    complete = record(5)
    chosen = confident(complete, least, fewest, most)
    assert len(chosen.features) == len(chosen.boxes) == count
    np.testing.assert_array_equal(chosen.features, complete.features[:count])
    assert chosen.classes is not None
    assert len(chosen.classes) == count


def test_a_batch_is_padded_with_a_mask() -> None:
    regions = batch_regions([record(2), record(3)])
    assert regions.features.shape == (2, 3, 2)
    assert regions.mask is not None
    assert regions.mask.tolist() == [[True, True, False], [True, True, True]]
    assert regions.boxes[0, 2].tolist() == [0.0] * 4
    with pytest.raises(ValueError, match=r"one width, but have \[2, 3\]"):
        batch_regions([record(2), record(2, width=3)])
