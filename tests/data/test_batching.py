"""Batch formations: ranks agree on the steps, every sample comes once, and tokens stay within bounds."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mplug2.data.batching import BatchFormation, FixedBatches, Step, TokenBatches
from registry.errors import UserError


class Texts:
    """An epoch of texts of given lengths."""

    def __init__(self, lengths: list[int]) -> None:
        self.lengths = lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def num_tokens(self, position: int) -> int:
        return self.lengths[position]


def steps_of(
    formation: BatchFormation, epoch: Texts, world: int, start: int = 0
) -> list[list[Step]]:
    return [list(formation.steps(epoch, start, rank, world)) for rank in range(world)]


def check_ranks(ranks: list[list[Step]], epoch: Texts, start: int = 0) -> None:
    """Check what every formation promises."""
    counts: Counter[int] = Counter()
    for step in zip(*ranks, strict=True):
        assert len({part.end for part in step}) == 1
        assert len({len(part.micro_batches) for part in step}) == 1
        for part in step:
            assert all(part.micro_batches), "no rank runs without a sample"
            for positions in part.micro_batches:
                counts.update(
                    position for position in positions if position < len(epoch)
                )
    assert counts == Counter(range(start, len(epoch)))
    if ranks[0]:
        assert ranks[0][-1].end == len(epoch)


@settings(deadline=None)
@given(
    samples=st.integers(1, 60),
    micro_batch=st.integers(1, 5),
    accumulation=st.integers(1, 3),
    world=st.integers(1, 4),
    start=st.integers(0, 59),
)
def test_fixed_batches_deal_every_sample_once(
    samples: int, micro_batch: int, accumulation: int, world: int, start: int
) -> None:
    start = min(start, samples)
    epoch = Texts([1] * samples)
    formation = FixedBatches(micro_batch * accumulation * world, micro_batch)
    ranks = steps_of(formation, epoch, world, start)
    check_ranks(ranks, epoch, start)
    sizes = {
        len(positions)
        for part in ranks
        for step in part
        for positions in step.micro_batches
    }
    assert max(sizes, default=1) <= micro_batch
    for step in zip(
        *ranks, strict=True
    ):  # ranks exchange features: they need equally many rows
        assert len({tuple(map(len, part.micro_batches)) for part in step}) == 1
    if start == 0:
        assert len(ranks[0]) == formation.steps_per_epoch(samples)


def test_a_batch_that_ranks_cannot_share_equally_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"multiple of the number of ranks \(got 8 on 3 ranks\)"
    ):
        next(FixedBatches(8, 2).steps(Texts([1] * 9), 0, 0, 3))


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=60),
    tokens=st.integers(20, 200),
    micro_tokens=st.integers(20, 60),
    world=st.integers(1, 4),
)
def test_token_batches_stay_within_their_bounds(
    lengths: list[int], tokens: int, micro_tokens: int, world: int
) -> None:
    epoch = Texts(lengths)
    ranks = steps_of(TokenBatches(tokens, micro_tokens), epoch, world)
    check_ranks(ranks, epoch)
    begin = 0
    for step in zip(*ranks, strict=True):
        end = step[0].end
        assert sum(lengths[begin:end]) <= tokens or end - begin <= world
        begin = end
        for part in step:
            for positions in part.micro_batches:
                longest = max(
                    lengths[position % len(lengths)] for position in positions
                )
                assert len(positions) * longest <= micro_tokens


def test_steps_of_tokens_are_the_same_for_one_rank_and_for_two() -> None:
    epoch = Texts([3, 5, 2, 4, 4, 6, 1, 2, 7, 3, 5, 2])
    formation = TokenBatches(tokens=20, micro_tokens=20)
    alone, shared = (steps_of(formation, epoch, world)[0] for world in (1, 2))
    assert [step.end for step in alone] == [step.end for step in shared] == [5, 10, 12]


def test_a_text_that_no_micro_batch_holds_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"micro-batch of 10 tokens \(got 11 tokens at position 1\)"
    ):
        list(TokenBatches(100, 10).steps(Texts([3, 11]), 0, 0, 1))
