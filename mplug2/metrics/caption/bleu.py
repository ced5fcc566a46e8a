"""BLEU-1 to BLEU-4 of a corpus of captions (Papineni et al. 2002), as the COCO caption tools compute it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mplug2.metrics.caption.ngrams import ORDERS, Grams

# The COCO tools' guards: no match at all gives almost 0 instead of a logarithm of 0.
TINY, SMALL = 1e-15, 1e-9


def bleu(
    candidates: Sequence[Grams], references: Sequence[Sequence[Grams]]
) -> list[float]:
    """BLEU-1 to BLEU-4, each from 0 to 1, of one candidate an item against all its references.

    Matches, n-grams and lengths are summed over the corpus before anything is divided. The reference length
    of an item is that of the reference closest to the candidate, the shorter one of two equally close.
    """
    matched, total = [0] * ORDERS, [0] * ORDERS
    length = reference_length = 0
    for candidate, item_references in zip(candidates, references, strict=True):
        size = candidate[0].total()
        length += size
        reference_sizes = [reference[0].total() for reference in item_references]
        # Of two equally close references the shorter one: pairs compare by their second part then.
        _, closest = min((abs(other - size), other) for other in reference_sizes)
        reference_length += closest
        for order, grams in enumerate(candidate):
            total[order] += grams.total()
            limits = [reference[order] for reference in item_references]
            for gram, count in grams.items():
                # Clipped: a repeated word matches as often as one reference has it.
                allowed = max([limit.get(gram, 0) for limit in limits])
                matched[order] += min(count, allowed)
    ratio = (length + TINY) / (reference_length + SMALL)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    product, scores = 1.0, []
    for order in range(ORDERS):
        product *= (matched[order] + TINY) / (total[order] + SMALL)
        scores.append(product ** (1 / (order + 1)) * brevity)
    return scores
