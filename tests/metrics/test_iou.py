"""Intersection over union as a metric."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modules.boxes import overlap
from mplug2.metrics.iou import IoU, iou

BOX = st.tuples(*[st.floats(0, 1)] * 4).map(
    lambda ends: [
        *map(min, zip(ends[:2], ends[2:], strict=True)),
        *map(max, zip(ends[:2], ends[2:], strict=True)),
    ]
)


def test_rows_are_marked_and_counted() -> None:
    half = [0.0, 0.0, 0.5, 1.0]
    rows = [
        {"prediction": half, "box": half},
        {"prediction": [0.0, 0.0, 1.0, 1.0], "box": half},  # exactly one half counts
        {"prediction": [0.5, 0.0, 1.0, 1.0], "box": half},
        {"prediction": half, "box": half, "bad": "broken"},
    ]
    for row in rows:
        row.update(IoU().score_row(row))
    assert [row["correct"] for row in rows] == [True, True, False, False]
    assert IoU().compute(rows) == {
        "iou_accuracy": 0.5,
        "mean_iou": pytest.approx(1.5 / 4),
    }
    assert math.isnan(IoU().compute([])["iou_accuracy"])


def test_boxes_without_area_have_nothing_in_common() -> None:
    assert iou([0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]) == 0.0


@given(BOX, BOX)
def test_it_is_what_the_loss_takes_for_it(one: list[float], other: list[float]) -> None:
    ours, theirs = (
        iou(one, other),
        float(overlap(torch.tensor([one]), torch.tensor([other]), 1e-12)[0]),
    )
    assert ours == iou(other, one) and 0 <= ours <= 1 + 1e-9
    area = max((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    if area > 1e-3:
        assert ours == pytest.approx(theirs, abs=1e-3)
