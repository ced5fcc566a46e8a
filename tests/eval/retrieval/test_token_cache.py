"""Tokens come back from the store as they went in, but for padding and 16 bit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.streams import Tokens, full_mask
from mplug2.eval.retrieval.token_cache import Rows, TokenCache

CPU = torch.device("cpu")


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), batches=st.integers(1, 3), whole=st.booleans())
def test_what_is_asked_for_comes_back(seed: int, batches: int, whole: bool) -> None:
    draw = torch.Generator().manual_seed(seed)
    store, known = TokenCache(), []
    for _ in range(batches):
        count, length = (int(torch.randint(1, 5, (), generator=draw)) for _ in range(2))
        values = torch.randn(count, length, 3, generator=draw)
        mask = None if whole else torch.rand(count, length, generator=draw) < 0.6
        keep = (torch.rand(count, generator=draw) < 0.7).tolist()
        tokens = Tokens(values, mask)
        store.add({"asked": tokens}, keep)
        known += [(values[i], full_mask(tokens)[i]) for i in range(count) if keep[i]]
    assert len(store.streams["asked"].places) == 3 * len(known)
    if not known:
        return
    numbers = torch.randint(len(known), (6,), generator=draw)
    found = store.batch(numbers, CPU, torch.float32)["asked"]
    valid = full_mask(found)
    for row, number in enumerate(numbers.tolist()):
        values, mask = known[number]
        assert torch.allclose(found.values[row][valid[row]], values[mask], atol=2e-3)
        shared = min(len(mask), valid.shape[1])
        assert (
            torch.equal(valid[row, :shared], mask[:shared])
            and not valid[row, shared:].any()
        )
        assert not mask[shared:].any()


def test_large_values_keep_32_bit_and_others_16() -> None:
    store = TokenCache()
    store.add({"asked": Tokens(torch.full((1, 2, 3), 3.3))}, [True])
    store.add({"asked": Tokens(torch.full((1, 1, 3), 1e6))}, [True])
    assert [pack.values.dtype for pack in store.streams["asked"].packs] == [
        torch.float16,
        torch.float32,
    ]
    found = store.batch(torch.tensor([0, 1]), CPU, torch.float32)["asked"]
    assert found.values[1, 0, 0] == 1e6
    assert found.mask is not None and found.mask.tolist() == [
        [True, True],
        [True, False],
    ]
    half = TokenCache()
    half.add(
        {"asked": Tokens(torch.full((1, 2, 3), 1e6, dtype=torch.bfloat16))}, [True]
    )
    assert (
        half.batch(torch.tensor([0]), CPU, torch.bfloat16)["asked"].values.dtype
        == torch.bfloat16
    )


def test_a_rank_without_items_has_a_spare_one() -> None:
    store = TokenCache()
    store.add({"asked": Tokens(torch.ones(2, 2, 3))}, [False, False])
    assert store.batch(torch.tensor([], dtype=torch.long), CPU, torch.float32)[
        "asked"
    ].values.shape == (
        1,
        2,
        3,
    )


def test_what_is_no_token_stream_is_refused() -> None:
    with pytest.raises(
        TypeError,
        match="stream 'v', from which `rerank` starts, must be tokens of 2 rows",
    ):
        TokenCache().add({"v": torch.ones(2, 3)}, [True, True])


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(0, 9), max_size=12))
def test_rows_come_back_in_one_piece(sizes: list[int]) -> None:
    rows, known = Rows(), [torch.randn(size, 3) for size in sizes]
    for batch in known:
        rows.add(batch)
    assert torch.equal(
        rows.values().reshape(-1, 3), torch.cat([torch.empty(0, 3), *known])
    )
