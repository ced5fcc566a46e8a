"""Blocks of similarities against the whole matrix, and places among what was found."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mplug2.eval.retrieval import similarity
from mplug2.eval.retrieval.similarity import nearest, places, search


def drawn(seed: int, rows: int, levels: int) -> torch.Tensor:
    """Small integers, so that ties are frequent and sums exact."""
    return torch.randint(
        -levels, levels + 1, (rows, 3), generator=torch.Generator().manual_seed(seed)
    ).float()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    queries=st.integers(1, 9),
    items=st.integers(1, 30),
    k=st.integers(1, 40),
    levels=st.integers(1, 5),
    block=st.integers(1, 50),
)
def test_blocks_find_what_the_whole_matrix_holds(
    seed: int, queries: int, items: int, k: int, levels: int, block: int
) -> None:
    asked, known = drawn(seed, queries, levels), drawn(seed + 1, items, levels)
    own = torch.randint(
        items, (queries, 2), generator=torch.Generator().manual_seed(seed)
    )
    whole = asked @ known.T
    before_block, similarity.BLOCK = similarity.BLOCK, block
    try:
        found, before = search(asked, known, own, k)
    finally:
        similarity.BLOCK = before_block
    assert found.items.shape == (queries, min(k, items))
    assert torch.equal(found.values, whole.sort(dim=1, descending=True).values[:, :k])
    assert torch.equal(whole.gather(1, found.items), found.values)
    for row in range(queries):
        mine = set(own[row].tolist())
        best = max(float(whole[row, one]) for one in mine)
        others = [float(whole[row, one]) for one in range(items) if one not in mine]
        assert before[row] == sum(value >= best for value in others)
    assert torch.equal(nearest(asked, known, k).values, found.values)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 6), levels=st.integers(1, 3))
def test_places_after_new_scores(seed: int, k: int, levels: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    own = torch.rand(5, k, generator=draw) < 0.3
    scores = torch.randint(levels, (5, k), generator=draw).float()
    found = places(own, scores, torch.full((5,), 99))
    for row in range(5):
        mine = [float(s) for s, o in zip(scores[row], own[row], strict=True) if o]
        others = [float(s) for s, o in zip(scores[row], own[row], strict=True) if not o]
        assert found[row] == (sum(s >= max(mine) for s in others) if mine else 99)


@pytest.mark.parametrize("where", ["own", "other"])
def test_what_is_not_a_number_counts_against_the_query(where: str) -> None:
    items = torch.eye(3)
    items[0 if where == "own" else 1] = torch.nan
    _, before = search(torch.eye(3)[:1], items, torch.tensor([[0]]), 2)
    assert before.item() >= 1
    scores = torch.tensor([[torch.nan, 1.0]])
    assert places(torch.tensor([[True, False]]), scores, torch.tensor([0])).item() > 10
    assert places(torch.tensor([[False, True]]), scores, torch.tensor([0])).item() == 1
