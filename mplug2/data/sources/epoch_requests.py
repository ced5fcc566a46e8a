"""The samples of an epoch: of texts, made when they are asked for, and repeated ones of media."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mplug2.data.batch import SampleRequest
from mplug2.data.lazy_sequence import LazySequence


class TextRequests(LazySequence[SampleRequest]):
    """The samples of an epoch of text, one item each, made when they are asked for."""

    def __init__(self, order: np.ndarray, seed: tuple[int, ...]) -> None:
        self.order, self.seed = order, seed

    def __len__(self) -> int:
        return len(self.order)

    def at(self, position: int) -> SampleRequest:
        """Return the sample at a position."""
        number = int(self.order[position])
        return SampleRequest((), (number,), self.seed, media_id=number)


def repeated_requests(
    requests: Sequence[SampleRequest], repeats: int
) -> list[SampleRequest]:
    """Return as many requests, of which the first ones occur ``repeats`` times with other random numbers."""
    repeated = []
    # Rounded up, and cut below, so that an epoch keeps its length.
    num_chosen = -(-len(requests) // repeats)
    for request in requests[:num_chosen]:
        for copy in range(repeats):
            seed = (*request.seed, copy) if copy else request.seed
            repeated.append(request._replace(seed=seed))
    return repeated[: len(requests)]
