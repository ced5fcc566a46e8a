"""Tables of relative position bias for another resolution, as BEiT and VLMo resize them.

Rows of a table are offsets on a square grid. The offsets of the old grid are placed at geometrically growing
distances, so that those near the middle keep their values, and a cubic spline is read at the new offsets.
Equal to the released rule, whose scipy function (interp2d) was removed. Nothing imports torch before a tensor
is there.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

CORNERS = 3  # rows of the class token, which are copied
LEAST, MOST, PRECISION = 1.01, 1.5, 1e-6  # of the search for the ratio of two distances
FEWEST = 4  # points that a cubic spline needs


def relative_bias(value: Tensor, target: Tensor) -> tuple[Tensor, str] | None:
    """Resize a table (offsets of a square grid, then three rows of the class token) for another grid."""
    if value.ndim != 2 or value.shape[1] != target.shape[1]:
        return None
    old, new = math.isqrt(len(value) - CORNERS), math.isqrt(len(target) - CORNERS)
    if old * old != len(value) - CORNERS or new * new != len(target) - CORNERS:
        raise ValueError(
            f"tables must be of square grids, but have {len(value)} and {len(target)} rows"
        )
    note = f"relative positions: {old}x{old} offsets to {new}x{new}"
    return resize_table(value, old, new), note


def resize_table(
    table: Float[Tensor, "rows columns"], old: int, new: int
) -> Float[Tensor, "_ columns"]:
    """Return a table of ``old x old`` offsets and three rows for ``new x new`` offsets."""
    import torch

    if old < FEWEST:
        raise ValueError(
            f"a table must have {FEWEST} offsets or more in each direction, but has {old}"
        )
    positions = source_positions(old, new)
    weights = spline_weights(positions, [float(step - new // 2) for step in range(new)])
    # (old * old, columns) -> (columns, old, old)
    grids = table[: old * old].double().T.unflatten(1, (old, old))
    resized = weights @ grids @ weights.T
    # (columns, new, new) -> (new * new, columns), and the rows of the class token unchanged
    return torch.cat([resized.flatten(1).T.to(table.dtype), table[old * old :]])


def source_positions(old: int, new: int) -> list[float]:
    """Return where the old offsets are on the scale of the new ones: 0, ±1, ±(1 + q), ±(1 + q + q^2), ...

    The ratio q is the last one tried by bisection, as released.
    """
    low, high, ratio = LEAST, MOST, LEAST
    while high - low > PRECISION:
        ratio = (low + high) / 2
        reached = (1 - ratio ** (old // 2)) / (1 - ratio)
        if reached > new // 2:
            high = ratio
        else:
            low = ratio
    distances: list[float] = []
    distance = 1.0
    for power in range(1, old // 2 + 1):
        distances.append(distance)
        distance += ratio**power
    return [-distance for distance in reversed(distances)] + [0.0] + distances


def spline_weights(
    points: list[float], targets: list[float]
) -> Float[Tensor, "targets points"]:
    """Return the matrix that reads a cubic spline through values at ``points`` at ``targets``.

    The spline is not-a-knot: its third derivative does not jump at the second and the last but one point.
    Targets outside the points get the value at the nearest end.
    """
    import torch

    x = torch.tensor(points, dtype=torch.float64)
    count, step = len(x), x.diff()
    curvature = _curvature(step)
    at = torch.tensor(targets, dtype=torch.float64).clamp(float(x[0]), float(x[-1]))
    interval = (torch.searchsorted(x, at, right=True) - 1).clamp(0, count - 2)
    width = step[interval]
    left, right = (x[interval + 1] - at) / width, (at - x[interval]) / width
    identity = torch.eye(count, dtype=torch.float64)
    straight = (
        left[:, None] * identity[interval] + right[:, None] * identity[interval + 1]
    )
    bend_left = (left**3 - left) * width**2 / 6
    bend_right = (right**3 - right) * width**2 / 6
    bent = (
        bend_left[:, None] * curvature[interval]
        + bend_right[:, None] * curvature[interval + 1]
    )
    return straight + bent


def _curvature(step: Float[Tensor, " intervals"]) -> Float[Tensor, "points points"]:
    """Return the matrix from the values at the points to the spline's second derivatives there."""
    import torch

    count = len(step) + 1
    system = torch.zeros(count, count, dtype=torch.float64)
    slopes = torch.zeros(count, count, dtype=torch.float64)
    for i in range(1, count - 1):
        before, after = step[i - 1], step[i]
        system[i, i - 1], system[i, i], system[i, i + 1] = (
            before / 6,
            (before + after) / 3,
            after / 6,
        )
        slopes[i, i - 1], slopes[i, i], slopes[i, i + 1] = (
            1 / before,
            -1 / before - 1 / after,
            1 / after,
        )
    for row, first in ((0, 0), (count - 1, count - 3)):
        before, after = step[first], step[first + 1]
        system[row, first], system[row, first + 1] = 1 / before, -1 / before - 1 / after
        system[row, first + 2] = 1 / after
    return torch.linalg.solve(system, slopes)
