"""Which frames of a video to look at: one in each of T equal intervals, or every n-th of a part."""

from __future__ import annotations

from typing import Literal

import numpy as np

Sampling = Literal["middle", "random"]


def frame_indices(
    total: int,
    count: int,
    sampling: Sampling = "middle",
    rng: np.random.Generator | None = None,
) -> list[int]:
    """Return ``count`` ascending frame numbers of a video of ``total`` frames, one per equal interval.

    ``middle`` takes the floor of each interval's middle (evaluation). ``random`` draws uniformly from each
    interval without its last frame (training); where an interval is a single frame, the result is a sorted
    random subset instead. Both are the released recipe. A video shorter than ``count`` repeats its last
    frame.
    """
    if total < 1 or count < 1:
        raise ValueError(
            f"total and count must be at least 1, but are {total} and {count}"
        )
    taken = min(total, count)
    edges = np.linspace(0, total, taken + 1).astype(int)
    first, last = edges[:-1], edges[1:] - 1
    if sampling == "middle":
        chosen = (first + last) // 2
    elif sampling == "random":
        rng = rng or np.random.default_rng()
        # Intervals of a single frame leave no choice: the released code draws a subset instead.
        if (first == last).any():
            chosen = np.sort(rng.permutation(total)[:taken])
        else:
            chosen = rng.integers(first, last)
    else:
        raise ValueError(f"sampling must be 'middle' or 'random', but is {sampling!r}")
    return chosen.tolist() + [int(chosen[-1])] * (count - taken)


def uniform_clip(total: int, count: int, clip: int = 0, clips: int = 1) -> list[int]:
    """Return the frames of clip number ``clip`` of ``clips``: one in each of ``count`` equal intervals.

    Each interval is divided into ``clips`` equal parts, and a clip takes the middle of its part. One clip
    alone is `frame_indices` with ``middle``. A video shorter than ``count`` repeats its last frame.
    """
    taken = min(total, count)
    edges = np.linspace(0, total, taken + 1).astype(int)
    lengths = np.diff(edges)
    chosen = (edges[:-1] + ((2 * clip + 1) * lengths - 1) // (2 * clips)).tolist()
    return chosen + [chosen[-1]] * (count - taken)


def dense_clip(total: int, count: int, stride: int, start: int) -> list[int]:
    """Return every ``stride``-th frame from ``start`` on; past its end a video repeats its last frame."""
    return [min(start + index * stride, total - 1) for index in range(count)]


def last_dense_start(total: int, count: int, stride: int) -> int:
    """Return the last frame at which a dense clip may start; 0 if the video is shorter than one."""
    return max(total - (count - 1) * stride - 1, 0)
