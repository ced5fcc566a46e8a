"""CIDEr-D of a batch's captions in worker processes that know the document frequencies; no torch here."""

from __future__ import annotations

import functools
import multiprocessing
import os
import threading
import weakref
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from mplug2.metrics.caption.cider import CiderD, Frequencies
from mplug2.metrics.caption.ngrams import Grams, ngrams
from mplug2.metrics.caption.ptb import tokenize
from mplug2.runtime.interrupts import ignore_signals
from registry.errors import UserError

# Candidates of one sample, and its references: plain text.
Item = tuple[Sequence[str], Sequence[str]]

_frequencies: Frequencies | None = None  # of this worker


@functools.lru_cache(maxsize=10_000)
def _grams(text: str) -> Grams:
    return ngrams(tokenize(text).split())


def count(references: Iterable[Sequence[str]]) -> Frequencies:
    """Document frequencies of references, given as plain text, one list an item."""
    return Frequencies.of([_grams(text) for text in texts] for texts in references)


def score(items: Sequence[Item], frequencies: Frequencies) -> list[list[float]]:
    """CIDEr-D (0 to 10) of every candidate of every item; candidates and references are plain text."""
    reference_grams = []
    for _, references in items:
        reference_grams.append([_grams(text) for text in references])
    scorer = CiderD.of_grams(reference_grams, frequencies)
    scores = []
    for number, (candidates, _) in enumerate(items):
        grams = [_grams(text) for text in candidates]
        # All candidates of a sample have its references.
        scores.append(scorer.score_grams(grams, [number] * len(grams)))
    return scores


class Workers:
    """``count`` processes that score; they start with the first batch and end with this object.

    None at all (0) scores where it is called.
    """

    def __init__(self, count: int, frequencies: Frequencies) -> None:
        self.count, self.frequencies = count, frequencies
        self._pool: ProcessPoolExecutor | None = None

    def score(self, items: Sequence[Item]) -> list[list[float]]:
        """As the function `score`, each process with its part of the items."""
        if not self.count:
            return score(items, self.frequencies)
        if self._pool is None:
            # Spawned, not forked: a fork of a process with threads (torch has some) may hang.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                self.count, context, _begin, (self.frequencies,)
            )
            self._end = weakref.finalize(self, self._pool.shutdown)
        share = -(-len(items) // self.count)
        parts = [items[first : first + share] for first in range(0, len(items), share)]
        try:
            rows: list[list[float]] = []
            for part in self._pool.map(_score_here, parts):
                rows += part
            return rows
        except BrokenProcessPool:
            # A broken pool has shut itself down.
            self._end.detach()
            raise UserError(
                "the worker processes of cider_d must stay alive, but one ended: if this is your script, "
                "start it under `if __name__ == '__main__':`; `workers: 0` needs no processes"
            ) from None


def _begin(frequencies: Frequencies) -> None:
    global _frequencies
    _frequencies = frequencies
    ignore_signals()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent"
    parent.join()
    # A killed process cannot stop its workers.
    os._exit(1)


def _score_here(items: Sequence[Item]) -> list[list[float]]:
    assert _frequencies is not None, "a worker begins with its frequencies"
    return score(items, _frequencies)
