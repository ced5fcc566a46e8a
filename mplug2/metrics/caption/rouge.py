"""ROUGE-L of a caption (Lin 2004), as the COCO caption tools compute it."""

from __future__ import annotations

from collections.abc import Sequence

BETA = 1.2  # how much more recall counts than precision


def rouge_l(candidate: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """The F-measure, from 0 to 1, of the best precision and the best recall over all references."""
    longest = [common_subsequence(candidate, reference) for reference in references]
    precision = max(longest) / max(len(candidate), 1)
    recall = 0.0
    for length, reference in zip(longest, references, strict=True):
        recall = max(recall, length / max(len(reference), 1))
    if not precision or not recall:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """The length of the longest common subsequence, a row of the table at a time (Hyyrö 2004).

    The row is one integer: bit i is 0 where the row's value steps up from i to i + 1.
    """
    places: dict[str, int] = {}
    for index, word in enumerate(left):
        places[word] = places.get(word, 0) | 1 << index
    full = (1 << len(left)) - 1
    row = full
    for word in right:
        hits = row & places.get(word, 0)
        row = (row + hits | row - hits) & full
    return len(left) - row.bit_count()
