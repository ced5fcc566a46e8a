"""A mixture draws each sample from one of its sources: shares, coverage, epochs of each source, resume."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from loaders import eval_loader, one_epoch, train_loader

from mplug2.data.batch import SampleRequest
from mplug2.data.sources.items import ItemSource
from mplug2.data.sources.mixture import MixtureSource
from registry.errors import UserError


class Words:
    """The smallest task: an item is a word."""

    outputs = {"word": "strings B"}

    def read(self, path: Any) -> list[str]:
        return []

    def encode(self, items: Any, samples: Any) -> dict[str, Any]:
        return {"word": list(items)}

    def question(self, text: str) -> str:
        return text


def mixture(
    sizes: dict[str, int],
    weights: dict[str, float] | None = None,
    training: bool = True,
) -> Any:
    task = Words()
    sources = {}
    for name, size in sizes.items():
        items = [f"{name}{number}" for number in range(size)]
        sources[name] = ItemSource(items, task, training=training)
    return MixtureSource(sources, weights or dict.fromkeys(sizes))


def words(source: Any, requests: Any) -> list[str]:
    return [source.read(request).items[0] for request in requests]


def test_by_size_every_sample_comes_once_an_epoch() -> None:
    source = mixture({"a": 300, "b": 50, "c": 7})
    for epoch in range(2):
        drawn = words(source, source.requests(epoch, 3))
        assert Counter(drawn) == Counter(
            [
                f"{name}{number}"
                for name, size in (("a", 300), ("b", 50), ("c", 7))
                for number in range(size)
            ]
        )
    assert words(source, source.requests(0, 3)) != words(source, source.requests(1, 3))


@pytest.mark.parametrize("start", [0, 1, 700])
def test_shares_hold_in_any_thousand_samples(start: int) -> None:
    weights = {"a": 2.0, "b": 1.0, "c": 1.0}
    source = mixture({"a": 100, "b": 4000, "c": 900}, weights)
    requests = source.requests(1, 5)[start : start + 1000]
    counts = Counter(request.source[0] for request in requests)
    for number, weight in enumerate(weights.values()):
        share = weight / 4
        sigma = math.sqrt(1000 * share * (1 - share))
        assert abs(counts[number] - 1000 * share) < 3 * sigma


def test_a_source_repeats_no_sample_before_all_have_come() -> None:
    source = mixture({"a": 10, "b": 200}, {"a": 1.0, "b": 1.0})
    drawn = [
        word
        for epoch in range(3)
        for word in words(source, source.requests(epoch, 0))
        if word[0] == "a"
    ]
    for start in range(0, len(drawn) - 10, 10):
        assert len(set(drawn[start : start + 10])) == 10
    draws = source.draws(2, 210, 0)
    assert draws["a"] == len(drawn)
    assert sum(draws.values()) == 3 * 210
    assert source.effective_epochs(2, 210, 0)["a"] == len(drawn) / 10


def test_a_position_does_not_depend_on_what_was_read_before() -> None:
    sizes, weights = {"a": 30, "b": 70}, {"a": 3.0, "b": 1.0}
    whole = [list(mixture(sizes, weights).requests(epoch, 2)) for epoch in range(3)]
    fresh = mixture(sizes, weights).requests(2, 2)
    assert [fresh[position] for position in (99, 5, 50)] == [
        whole[2][position] for position in (99, 5, 50)
    ]


def test_media_of_two_sources_never_count_as_the_same() -> None:
    source = mixture({"a": 5, "b": 5})
    requests = list(source.requests(0, 0))
    assert len({request.media_id for request in requests}) == 10
    assert len({request.id for request in requests}) == 10


def test_a_run_resumes_within_an_epoch_of_a_mixture() -> None:
    sizes, weights = {"a": 20, "b": 30}, {"a": 1.0, "b": 2.0}
    loader = train_loader(mixture(sizes, weights), 4, seed=1)
    batches = iter(loader)
    for _ in range(15):
        next(batches)
    fresh = train_loader(mixture(sizes, weights), 4, seed=1)
    fresh.load_state_dict(loader.state_dict())
    assert [batch.inputs["word"] for batch in one_epoch(fresh)] == [
        batch.inputs["word"] for batch in one_epoch(loader)
    ]
    heavier = train_loader(mixture(sizes, {"a": 2.0, "b": 1.0}), 4, seed=1)
    next(iter(loader))
    with pytest.raises(UserError, match="its data must be unchanged"):
        heavier.load_state_dict(loader.state_dict())


def test_evaluation_reads_one_source_after_the_other_and_names_it() -> None:
    source = mixture({"a": 3, "b": 2}, training=False)
    records = [record for batch in eval_loader(source, 2) for record in batch.records]
    assert [record["source"] for record in records] == ["a", "a", "a", "b", "b"]
    assert eval_loader(source, 2).num_records == 5


def test_an_empty_source_is_refused() -> None:
    with pytest.raises(UserError, match="each of them samples"):
        mixture({"a": 3, "b": 0})


def test_a_million_samples_are_ordered_without_being_made() -> None:
    class Million:
        task, training, collate = Words(), True, None

        def __len__(self) -> int:
            return 1_000_000

        def requests(self, epoch: int, seed: int) -> Any:
            rng = np.random.default_rng([seed, epoch])
            return _Lazy(rng.permutation(1_000_000))

    source = MixtureSource({"a": Million(), "b": Million()}, {"a": 1.0, "b": 1.0})  # type: ignore[dict-item]
    assert isinstance(source.requests(1, 0)[1_999_999], SampleRequest)


class _Lazy:
    def __init__(self, order: Any) -> None:
        self.order = order

    def __getitem__(self, position: int) -> SampleRequest:
        return SampleRequest((), (int(self.order[position]),))
