"""A source without files: texts that are generated from their numbers."""

from __future__ import annotations

import random
from typing import Any

from mplug2.data.batch import FailedSample, Sample, SampleRequest
from mplug2.data.collate import Collator


def random_text(seed: int, longest: int) -> str:
    """Return a text of 1 to ``longest`` letters and digits."""
    rng = random.Random(seed)
    return "".join(rng.choices("abcdefgh0123456789", k=rng.randint(1, longest)))


class RandomTexts:
    """Random texts of letters and digits: ``random_texts`` of them, the first with the seed ``first``."""

    def __init__(
        self, random_texts: int, task: Any, inputs: Any = None, training: bool = False, first: int = 0
    ) -> None:
        self.task, self.training, self.first = task, training, first
        self.items = [random_text(first + number, task.longest) for number in range(random_texts)]
        self.collate = Collator(task, inputs)

    def __len__(self) -> int:
        return len(self.items)

    def requests(self, epoch: int, seed: int) -> list[SampleRequest]:
        """Return the samples of an epoch, shuffled in training."""
        order = list(range(len(self)))
        if self.training:
            random.Random(f"{seed} {epoch}").shuffle(order)
        return [SampleRequest((), (number,), (seed, epoch), media_id=number) for number in order]

    def read(self, request: SampleRequest) -> Sample:
        """Return one sample."""
        return Sample(request, tuple(self.items[number] for number in request.items))

    def names(self) -> list[str]:
        """Return no media."""
        return []

    def blank(self, failed: FailedSample) -> Sample:
        """Return the sample: a text is always readable."""
        return self.read(failed.request)

    def records(self) -> list[dict[str, Any]]:
        """Return the fields of all rows."""
        return [self.collate.record(item, number) for number, item in enumerate(self.items)]

    def num_tokens(self, request: SampleRequest) -> int:
        return len(self.items[request.items[0]])

    def fingerprint(self) -> int:
        """Return a number that changes with the texts."""
        return hash((self.first, len(self.items), self.task.longest))
