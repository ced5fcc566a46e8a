"""Which frames of a video to look at: one in each of T equal intervals."""

from __future__ import annotations

from typing import Literal

import numpy as np

Sampling = Literal["middle", "random"]


def frame_indices(
    total: int, count: int, sampling: Sampling = "middle", rng: np.random.Generator | None = None
) -> list[int]:
    """Return ``count`` ascending frame numbers of a video of ``total`` frames, one per equal interval.

    ``middle`` takes the floor of each interval's middle (evaluation). ``random`` draws uniformly from each
    interval without its last frame (training); where an interval is a single frame, the result is a sorted
    random subset instead. Both are the released recipe. A video shorter than ``count`` repeats its last
    frame.
    """
    if total < 1 or count < 1:
        raise ValueError(f"total and count must be at least 1, but are {total} and {count}")
    taken = min(total, count)
    edges = np.linspace(0, total, taken + 1).astype(int)
    first, last = edges[:-1], edges[1:] - 1
    if sampling == "middle":
        chosen = (first + last) // 2
    elif sampling == "random":
        rng = rng or np.random.default_rng()
        if (first == last).any():
            chosen = np.sort(rng.permutation(total)[:taken])
        else:
            chosen = rng.integers(first, last)
    else:
        raise ValueError(f"sampling must be 'middle' or 'random', but is {sampling!r}")
    return chosen.tolist() + [int(chosen[-1])] * (count - taken)
