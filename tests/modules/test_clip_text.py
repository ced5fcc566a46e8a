"""CLIP's text tower: causal, and pooled at the end of a text."""

from __future__ import annotations

import pytest
import torch

from modules.clip_text import ClipText, EndHead
from modules.streams import Text, Tokens

END = 9  # the highest id


def tower() -> ClipText:
    torch.manual_seed(0)
    return ClipText(16, depth=2, vocab_size=10, max_positions=6, heads=2).eval()


def texts(*rows: list[int]) -> Text:
    ids = torch.tensor(rows)
    return Text(ids, torch.arange(ids.shape[1]) <= ids.argmax(dim=1, keepdim=True))


def test_a_token_sees_itself_and_those_before_it() -> None:
    module = tower()
    states = module(texts([8, 1, 2, END])).values
    changed = module(texts([8, 1, 3, END])).values
    torch.testing.assert_close(states[:, :2], changed[:, :2])
    assert (states[:, 2:] - changed[:, 2:]).abs().amax(dim=-1).min() > 1e-3


def test_padding_changes_no_token_of_the_text() -> None:
    module = tower()
    states = module(texts([8, 1, END])).values
    padded = module(texts([8, 1, END, 0, 0])).values
    torch.testing.assert_close(states, padded[:, :3])


def test_recomputed_layers_have_the_same_gradients() -> None:
    gradients = []
    for recompute in ("none", "all"):
        module = tower().train()
        module.recompute = recompute  # type: ignore[assignment]
        module(texts([8, 1, 2, END])).values.square().sum().backward()
        gradients.append(module.word.weight.grad)
    torch.testing.assert_close(*gradients)


def test_a_longer_text_than_there_are_positions_is_refused() -> None:
    with pytest.raises(
        ValueError, match="a text must have at most 6 tokens, but has 7"
    ):
        tower()(texts([8, 1, 1, 1, 1, 1, END]))


@pytest.mark.parametrize(
    ("end", "expected"), [("highest_id", [2, 1]), ("last", [2, 3])]
)
def test_the_end_is_the_first_highest_id_or_the_last_token(
    end: str, expected: list[int]
) -> None:
    head = EndHead(4, 3, end=end)  # type: ignore[arg-type]
    ids = torch.tensor([[8, 1, END, 0], [8, END, 2, END]])
    mask = torch.tensor([[True, True, True, False], [True, True, True, True]])
    states = torch.randn(2, 4, 4)
    pooled = head.at_end(Tokens(states, mask), Text(ids, mask))
    assert torch.equal(pooled, states[[0, 1], expected])
    vectors = head(Tokens(states, mask), Text(ids, mask))
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(2))
    torch.testing.assert_close(
        vectors[0], torch.nn.functional.normalize(head.linear(pooled[0]), dim=-1)
    )
