"""Embeddings of text: segments choose the type that is added, and a table of them is optional."""

from __future__ import annotations

import pytest
import torch

from modules.streams import Text
from modules.text import TextEmbedding

IDS = torch.tensor([[2, 7, 8, 3]])
MASK = torch.ones(1, 4, dtype=torch.bool)
SEGMENTS = torch.tensor([[0, 0, 1, 1]])


def embedding(types: int) -> TextEmbedding:
    torch.manual_seed(0)
    return TextEmbedding(
        width=8, vocab_size=20, max_positions=6, types=types, dropout=0.0
    ).eval()


def test_the_type_of_a_token_is_its_segment() -> None:
    module = embedding(2)
    plain = module(Text(IDS, MASK)).values
    first = module(Text(IDS, MASK, torch.zeros_like(IDS))).values
    pair = module(Text(IDS, MASK, SEGMENTS)).values
    assert torch.equal(plain, first)
    assert torch.equal(pair[:, :2], plain[:, :2])
    assert not torch.allclose(pair[:, 2:], plain[:, 2:])
    expected = module.norm(
        module.word(IDS) + module.position(torch.arange(4)) + module.kind(SEGMENTS)
    )
    assert torch.equal(pair, expected)


@pytest.mark.parametrize("types", [0, 1])
def test_segments_need_a_table_of_several(types: int) -> None:
    module = embedding(types)
    assert torch.equal(
        module(Text(IDS, MASK, SEGMENTS)).values, module(Text(IDS, MASK)).values
    )
    assert (module.kind is None) == (types == 0)


def test_a_segment_beyond_the_table_is_named() -> None:
    message = (
        "the segments of a text must be below types, 2, but one is 3: raise `types`"
    )
    with pytest.raises(ValueError, match=message):
        embedding(2)(Text(IDS, MASK, SEGMENTS * 3))
    with pytest.raises(ValueError, match="types must be at least 0, but is -1"):
        embedding(-1)


def test_text_without_positions_keeps_its_limit() -> None:
    module = TextEmbedding(8, 20, max_positions=4, position="none", dropout=0.0)
    values = module(Text(torch.tensor([[2, 7, 7, 3]]), MASK)).values
    assert torch.equal(values[0, 1], values[0, 2])
    assert "position.weight" not in module.state_dict()
    with pytest.raises(
        ValueError, match="text must be at most 4 tokens long, but is 5"
    ):
        module(
            Text(torch.ones(1, 5, dtype=torch.long), torch.ones(1, 5, dtype=torch.bool))
        )
