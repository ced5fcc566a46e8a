"""How well the patches that a text speaks of are ranked above the others."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mplug2.metrics.correlation import ranks
from mplug2.metrics.metric import Row, metric


def area_under_curve(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the probability that a score with label 1 is above one with label 0; equal ones count half.

    NaN if one of the labels does not occur.
    """
    positive = int(labels.sum())
    negative = len(labels) - positive
    if not positive or not negative:
        return math.nan
    # Mann and Whitney's U, from the ranks of those with label 1.
    above = ranks(scores)[labels == 1].sum() - positive * (positive + 1) / 2
    return float(above / (positive * negative))


@metric(inputs={"patch_logits": "logits P N 2"}, outputs={"patch_auc": "scalar"})
def patch_auc(rows: Sequence[Row]) -> dict[str, float]:
    """Mean over texts of the area under the ROC curve of the patches of their image.

    ``patches`` of a row are 1 for those in the box. A text about all patches or none is left out; of a
    file that cannot be decoded (``bad``) the area is 0.
    """
    areas = []
    for row in rows:
        if row.get("bad"):
            areas.append(0.0)
            continue
        area = area_under_curve(np.array(row["prediction"]), np.array(row["patches"]))
        if not math.isnan(area):
            areas.append(area)
    return {"patch_auc": float(np.mean(areas)) if areas else math.nan}
