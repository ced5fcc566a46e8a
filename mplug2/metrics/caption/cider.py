"""CIDEr-D (Vedantam et al. 2015), which is also what the COCO caption tools report as "CIDEr".

The paper's plain CIDEr is the mean cosine of TF-IDF vectors of stemmed n-grams. Its CIDEr-D drops the
stemming, clips each n-gram of the candidate at its weight in the reference, and damps by a Gaussian of the
difference in length, so that neither repetition nor padding pays. The scorer named "Cider" in coco-caption
and pycocoevalcap clips and damps (sigma 6, scaled by 10): what is published as "CIDEr" with these tools is
CIDEr-D.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mplug2.metrics.caption.ngrams import ORDERS, Gram, Grams, ngrams
from registry.errors import UserError

SIGMA = 6.0  # words of difference in length at which the score has fallen to exp(-1/2)
SCALE = 10.0


@dataclass(frozen=True)
class Frequencies:
    """In the references of how many items, out of ``items``, each n-gram occurs."""

    counts: dict[Gram, int]
    items: int

    @classmethod
    def of(cls, references: Iterable[Sequence[Grams]]) -> Frequencies:
        """Count over the references of all items."""
        counts: Counter[Gram] = Counter()
        items = 0
        for item_references in references:
            # Once for an item, however many of its references have the n-gram.
            item_grams: set[Gram] = set()
            for grams in item_references:
                for order in grams:
                    item_grams.update(order)
            counts.update(item_grams)
            items += 1
        return cls(dict(counts), items)

    def to_json(self) -> dict[str, Any]:
        """``{"items": 2990, "counts": {"a dog": 12}}``, plain enough for any file; `from_json` reads it."""
        counts = {" ".join(gram): count for gram, count in self.counts.items()}
        return {"items": self.items, "counts": counts}

    @classmethod
    def from_json(cls, data: Any) -> Frequencies:
        """Read what `to_json` gave; UserError where it is something else."""
        content = data if isinstance(data, dict) else {}
        counts, items = content.get("counts"), content.get("items")
        if not isinstance(counts, dict) or type(items) is not int or items < 1:
            raise UserError(
                'document frequencies must be {"items": 2990, "counts": {"a dog": 12}}'
            )
        by_gram: dict[Gram, int] = {}
        for gram, count in counts.items():
            if type(count) is not int or not 0 < count <= items:
                raise UserError(
                    f"the count of '{gram}' must be from 1 to {items} (items), but is {count!r}"
                )
            by_gram[tuple(gram.split(" "))] = count
        return cls(by_gram, items)

    def save(self, path: str | Path) -> None:
        """Write them as one JSON file."""
        text = json.dumps(self.to_json(), ensure_ascii=False)
        Path(path).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Frequencies:
        """Read what `save` wrote; UserError where the file cannot be read as such."""
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except RecursionError:
            raise UserError(
                f"{path}: no document frequencies can be read: it is nested too deeply"
            ) from None
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise UserError(
                f"{path}: no document frequencies can be read: {why}"
            ) from None
        try:
            return cls.from_json(data)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None


class _Rarity(dict[Gram, float]):
    """The logarithm of (items / items that have the n-gram); what no reference has counts as had by one."""

    def __init__(self, frequencies: Frequencies) -> None:
        super().__init__()
        self._frequencies = frequencies

    def __missing__(self, gram: Gram) -> float:
        items, counts = self._frequencies.items, self._frequencies.counts
        self[gram] = math.log(items) - math.log(counts.get(gram, 1))
        return self[gram]


class CiderD:
    """CIDEr-D of candidates against fixed references.

    Both are PTB tokens with blanks between (`ptb.tokenize`). ``frequencies`` are those of the references
    themselves, as in evaluation, unless they are given: those of the training captions, as in self-critical
    training, where a batch is too small to have its own.
    """

    def __init__(
        self,
        references: Sequence[Sequence[str]],
        frequencies: Frequencies | None = None,
        sigma: float = SIGMA,
    ) -> None:
        grams = []
        for texts in references:
            grams.append([ngrams(text.split()) for text in texts])
        self._init(grams, frequencies, sigma)

    @classmethod
    def of_grams(
        cls,
        references: Sequence[Sequence[Grams]],
        frequencies: Frequencies | None = None,
        sigma: float = SIGMA,
    ) -> CiderD:
        """The same from n-grams that are counted already."""
        scorer = cls.__new__(cls)
        scorer._init(references, frequencies, sigma)
        return scorer

    def _init(
        self,
        references: Sequence[Sequence[Grams]],
        frequencies: Frequencies | None,
        sigma: float,
    ) -> None:
        if frequencies is None:
            frequencies = Frequencies.of(references)
        self.frequencies = frequencies
        self._rarity = _Rarity(self.frequencies)
        self._sigma = sigma
        self._references = references
        # Of an item's references, once they were needed: self-critical training sees few items at a time.
        self._norms: dict[int, list[tuple[float, ...]]] = {}

    def score(
        self, candidates: Sequence[str], owner: Sequence[int] | None = None
    ) -> list[float]:
        """One score, from 0 to 10, a candidate.

        ``owner`` is the item whose references it has; by default, candidates and items are in the same order.
        """
        return self.score_grams([ngrams(text.split()) for text in candidates], owner)

    def score_grams(
        self, candidates: Sequence[Grams], owner: Sequence[int] | None = None
    ) -> list[float]:
        """The same from n-grams that are counted already."""
        owner = range(len(self._references)) if owner is None else owner
        scores = []
        for candidate, item in zip(candidates, owner, strict=True):
            scores.append(self._score(candidate, item))
        return scores

    def _score(self, candidate: Grams, item: int) -> float:
        references = self._references[item]
        if item not in self._norms:
            self._norms[item] = [self._norm(reference) for reference in references]
        # The TF-IDF vector of each order.
        weights = []
        for order_grams in candidate:
            order_weights = {}
            for gram, count in order_grams.items():
                order_weights[gram] = count * self._rarity[gram]
            weights.append(order_weights)
        norms = self._norm(candidate)
        total = 0.0
        for reference, reference_norms in zip(
            references, self._norms[item], strict=True
        ):
            similarity = 0.0
            for order in range(ORDERS):
                scale = norms[order] * reference_norms[order]
                # A vector without weight is similar to nothing: no n-gram, or only those that all items have.
                if scale:
                    similarity += (
                        self._overlap(weights[order], reference[order]) / scale
                    )
            # The COCO tools count 2-grams: a difference in words but for captions without a word.
            difference = candidate[1].total() - reference[1].total()
            total += similarity * math.exp(-(difference**2) / (2 * self._sigma**2))
        return SCALE * total / (ORDERS * len(references))

    def _overlap(self, weights: dict[Gram, float], reference: Counter[Gram]) -> float:
        """The product of two TF-IDF vectors, the candidate's clipped at the reference's."""
        rarity, total = self._rarity, 0.0
        for gram, weight in weights.items():
            if count := reference.get(gram):
                other = count * rarity[gram]
                total += min(weight, other) * other
        return total

    def _norm(self, grams: Grams) -> tuple[float, ...]:
        """The length of the TF-IDF vector of each order."""
        rarity = self._rarity
        norms = []
        for order in grams:
            squares = [(count * rarity[gram]) ** 2 for gram, count in order.items()]
            norms.append(math.sqrt(sum(squares)))
        return tuple(norms)
