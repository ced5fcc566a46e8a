"""The area under the ROC curve of patches, against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mplug2.metrics.patch_auc import area_under_curve, patch_auc


def test_the_area_is_the_fraction_of_pairs_in_the_right_order() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(5, size=40), rng.integers(2, size=40)
    positive, negative = scores[labels == 1], scores[labels == 0]
    above = (positive[:, None] > negative).mean()
    equal = (positive[:, None] == negative).mean()
    assert area_under_curve(scores, labels) == pytest.approx(above + equal / 2)
    assert math.isnan(area_under_curve(scores, np.ones(40)))


def test_texts_are_averaged_and_those_about_all_patches_left_out() -> None:
    rows = [
        {"prediction": [0.9, 0.1, 0.2], "patches": [1, 0, 0]},
        {"prediction": [0.3, 0.1, 0.2], "patches": [0, 0, 1]},
        {"prediction": [0.9, 0.1, 0.2], "patches": [1, 1, 1]},
        {"prediction": [0.9, 0.1, 0.2], "patches": [1, 0, 0], "bad": "broken"},
    ]
    assert patch_auc(rows) == {"patch_auc": pytest.approx((1 + 0.5 + 0) / 3)}
    assert math.isnan(patch_auc(rows[2:3])["patch_auc"])
