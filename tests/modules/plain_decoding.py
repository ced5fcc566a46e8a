"""A tiny decoder, and what it says of a text by reading it all again: what every search is compared with."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from modules.decoder import TextDecoder
from modules.streams import Text, Tokens

START, END, VOCAB = 1, 2, 7


def tiny_decoder(dropout: float = 0.0) -> TextDecoder:
    """A decoder whose fresh weights already prefer some words, in use."""
    torch.manual_seed(3)
    return TextDecoder(
        width=16, depth=2, vocab_size=VOCAB, max_positions=14, heads=2, dropout=dropout
    ).eval()


def three_memories() -> Tokens:
    """Three memories of five places, of which the second has only three."""
    torch.manual_seed(4)
    mask = torch.ones(3, 5, dtype=torch.bool)
    mask[1, 3:] = False
    return Tokens(torch.randn(3, 5, 16), mask)


def three_prefixes() -> Text:
    """Prefixes of one to four tokens, padded at the end."""
    ids = torch.tensor([[1, 4, 5, 3], [1, 0, 0, 0], [1, 6, 3, 0]])
    return Text(ids, ids > 0)


def only(memory: Tokens, sample: int) -> Tokens:
    """The memory of one sample."""
    return Tokens(memory.values[sample : sample + 1], memory.mask[sample : sample + 1])


def alone(text: Text, sample: int) -> Text:
    """One row of a text, without padding."""
    ids = text.ids[sample : sample + 1, : int(text.mask[sample].sum())]
    return Text(ids, torch.ones_like(ids, dtype=torch.bool))


def next_word(
    decoder: TextDecoder, memory: Tokens, sample: int, words: list[int]
) -> Tensor:
    """Log-probabilities of the word after ``words`` [vocab], with gradient."""
    ids = torch.tensor([words])
    said = decoder(
        Text(ids, torch.ones_like(ids, dtype=torch.bool)), only(memory, sample)
    )
    return F.log_softmax(said[0, -1], dim=-1)


def text_score(
    decoder: TextDecoder,
    memory: Tokens,
    sample: int,
    words: list[int],
    after: list[int],
) -> list[Tensor]:
    """The log-probability of each of ``words`` when written after ``after``."""
    return [
        next_word(decoder, memory, sample, after + words[:i])[word]
        for i, word in enumerate(words)
    ]
