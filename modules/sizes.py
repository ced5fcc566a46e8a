"""Validate sizes, fractions and rates early, with a clear message."""

from __future__ import annotations

LARGEST = 1 << 24
DEEPEST = 1000


def check_sizes(**sizes: int) -> None:
    """Raise ValueError for a size that is not 1 or more, or that no network has (a depth above 1000)."""
    for name, size in sizes.items():
        # A bound, so that a typing mistake is a message and not an exhausted memory.
        largest = DEEPEST if name == "depth" else LARGEST
        if not 1 <= size <= largest:
            raise ValueError(f"{name} must be 1 to {largest}, but is {size}")


def check_fraction(**shares: float) -> None:
    """Raise ValueError for a share that is not 0 to 1."""
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{name} must be 0 to 1, but is {share}")


def check_rate(**rates: float) -> None:
    """Raise ValueError for a rate that is not at least 0 and below 1: a rate of 1 would leave nothing."""
    for name, rate in rates.items():
        if not 0 <= rate < 1:
            raise ValueError(f"{name} must be at least 0 and below 1, but is {rate}")
