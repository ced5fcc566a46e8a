"""How many words of the texts of a source its vocabulary lacks: a network reads all of them as one token."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from mplug2.data.batch import FailedSample, SampleRequest
from mplug2.data.packed_file import PackedFileError
from mplug2.data.sources.source import Source
from mplug2.data.text import Tokenizer

MAX_SAMPLES = 64  # samples that are looked at, evenly spread over an epoch
_SHOWN = 8


@dataclass
class WordCounts:
    """Words of texts as a tokenizer divides them, and which of them it does not know, with their numbers."""

    words: int = 0
    unknown: Counter[str] = field(default_factory=Counter)

    @property
    def fraction(self) -> float:
        """The part of the words that is unknown, from 0 to 1."""
        return self.unknown.total() / max(self.words, 1)

    def __str__(self) -> str:
        """Return the numbers with the most frequent unknown words, as messages print them."""
        listed = ", ".join(word[:40] for word, _ in self.unknown.most_common(_SHOWN))
        more = ", ..." if len(self.unknown) > _SHOWN else ""
        return f"{self.unknown.total()} of {self.words} words ({self.fraction:.1%}: {listed}{more})"


def count_words(source: Source, max_samples: int = MAX_SAMPLES) -> WordCounts:
    """Count the words of the texts that become inputs, in up to ``max_samples`` samples of a source.

    Media are not decoded. All counts are 0 for a task without a `Tokenizer`.
    """
    requests = source.requests(0, 0)
    step = -(-len(requests) // max_samples)
    # Evenly spread, since files are often sorted by kind.
    indices = range(0, len(requests), max(step, 1))
    return count_requested_words(source, [requests[index] for index in indices])


def count_requested_words(
    source: Source, requests: Iterable[SampleRequest]
) -> WordCounts:
    """Count the words of the texts that become inputs in some samples of a source, as `count_words` does."""
    counts = WordCounts()
    tokenizer = getattr(source.task, "tokenizer", None)
    if not isinstance(tokenizer, Tokenizer):
        return counts
    with tokenizer.recorded_texts() as texts:
        for request in requests:
            _encode(source, request)
    for text in texts:
        words, unknown = tokenizer.count_unknown(text)
        counts.words += words
        counts.unknown.update(unknown)
    return counts


def _encode(source: Source, request: SampleRequest) -> None:
    """Build the inputs of one sample, over black frames if it has media."""
    if request.media:
        # Of a bad shard, which is counted where it is read.
        with contextlib.suppress(PackedFileError):
            source.collate([source.blank(FailedSample(request, "", "not read"))])
        return
    sample = source.read(request)
    if not isinstance(sample, FailedSample):
        source.collate([sample])
