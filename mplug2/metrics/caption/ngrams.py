"""Counts of the 1- to 4-grams of a caption, the common ground of BLEU and CIDEr."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

ORDERS = 4

Gram = tuple[str, ...]
Grams = tuple[Counter[Gram], ...]  # by order: 1-grams first


def ngrams(words: Sequence[str]) -> Grams:
    """How often each n-gram occurs in ``words``, for n = 1 to 4."""
    return tuple(
        Counter(zip(*(words[start:] for start in range(n)), strict=False))
        for n in range(1, ORDERS + 1)
    )
