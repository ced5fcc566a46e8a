"""What all searches share: packing of results, and dry runs on the meta device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from modules.decoder import TextDecoder
from modules.streams import Sequences, Tokens

Search = TypeVar("Search", bound=Callable[..., Any])
Hypothesis = tuple[float, Int[Tensor, " _"]]


def dry_run(stand_in: Callable[..., Any]) -> Callable[[Search], Search]:
    """Give a search a stand-in for the meta device, where no value can decide when to stop."""

    def mark(search: Search) -> Search:
        search.dry_run = stand_in  # type: ignore[attr-defined]
        return search

    return mark


def pack(found: list[list[Hypothesis]], best: int, device: torch.device) -> Sequences:
    """The ``best`` hypotheses of every sample, best first, padded with 0."""
    chosen = [sorted(hypotheses, key=lambda h: h[0], reverse=True)[:best] for hypotheses in found]
    ids = pad_sequence([text for sample in chosen for _, text in sample], batch_first=True)
    scores = torch.tensor([[score for score, _ in sample] for sample in chosen], device=device)
    return Sequences(ids.unflatten(0, (len(found), -1)), scores)


def write_all(decoder: TextDecoder, memory: Tokens, beams: int, best: int, max_length: int) -> Sequences:
    """The most work a search can have: every beam written to its full length (meta device: shapes and
    FLOPs)."""
    samples, device = memory.values.shape[0], memory.values.device
    state = decoder.start(memory)
    for _ in range(max_length):
        decoder.write(torch.empty(samples, beams, 1, dtype=torch.long, device=device), state)
    ids = torch.empty(samples, best, max_length + 1, dtype=torch.long, device=device)
    return Sequences(ids, torch.empty(samples, best, device=device))
