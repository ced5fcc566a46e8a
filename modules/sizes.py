"""Sizes that a constructor can work with, told before torch fails at them or a loop never ends."""

from __future__ import annotations

LARGEST = 1 << 24
DEEPEST = 1000


def check_sizes(**sizes: int) -> None:
    """Raise ValueError for a size that is not 1 or more, or that no network has (a depth above 1000)."""
    for name, size in sizes.items():
        largest = DEEPEST if name == "depth" else LARGEST
        if not 1 <= size <= largest:
            raise ValueError(f"{name} must be 1 to {largest}, but is {size}")
