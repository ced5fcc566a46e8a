"""What all searches share: how they prefill, how results are packed, and dry runs on the meta device."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from modules.decoder import DecoderCache, TextDecoder
from modules.distributed import any_rank_active
from modules.eval_mode import eval_mode
from modules.streams import Sequences, Text, Tokens

Search = TypeVar("Search", bound=Callable[..., Any])

FORBIDDEN = -1e20  # the log-probability of a word that must not come


class Hypothesis(NamedTuple):
    """One text that was written, [CLS] first, and what it is worth."""

    score: float
    ids: Int[Tensor, " length"]
    logprobs: Float[Tensor, " length"]


def check_lengths(min_length: int, max_length: int) -> None:
    """Raise ValueError where no text can have so many words."""
    if max_length < 1 or not 0 <= min_length <= max_length:
        raise ValueError(
            "max_length must be at least 1, and min_length 0 to max_length, but max_length is "
            f"{max_length} and min_length is {min_length}"
        )


def dry_run(stand_in: Callable[..., Any]) -> Callable[[Search], Search]:
    """Give a search a stand-in for the meta device, where no value can decide when to stop.

    The stand-in receives every argument by name, with the search's defaults filled in, and runs without
    gradients.
    """

    def mark(search: Search) -> Search:
        signature = inspect.signature(search)

        def run(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            with torch.no_grad():
                return stand_in(**bound.arguments)

        search.dry_run = run  # type: ignore[attr-defined]
        return search

    return mark


def eval_no_grad(search: Search) -> Search:
    """Run a search without gradient and without dropout, also while its decoder is being trained."""

    @functools.wraps(search)
    def run(decoder: TextDecoder, *args: Any, **kwargs: Any) -> Any:
        with eval_mode(decoder), torch.no_grad():
            return search(decoder, *args, **kwargs)

    return run  # type: ignore[return-value]


def rows_of(memory: Tokens | None, prefix: Text | None) -> tuple[int, torch.device]:
    """Return the number of samples of a search and its device; raise ValueError if no argument has them."""
    if memory is not None:
        return memory.values.shape[0], memory.values.device
    if prefix is None:
        raise ValueError(
            "a search needs a memory, or a prefix to continue, to know how many texts to write"
        )
    return prefix.ids.shape[0], prefix.ids.device


def prefill(
    decoder: TextDecoder,
    memory: Tokens | None,
    prefix: Text | None,
    bos_token_id: int,
    words: int = 1,
) -> tuple[DecoderCache, Float[Tensor, "samples vocab"]]:
    """Read the ``prefix``, or ``bos_token_id`` where there is none, once per sample, and score the word after
    it.

    Prefixes of unequal length are moved to end at the same place. ``words``: how many may be written, one a
    step.
    """
    samples, device = rows_of(memory, prefix)
    state = decoder.init_cache(memory, words)
    if prefix is None:
        ids = torch.full((samples, 1), bos_token_id, dtype=torch.long, device=device)
    else:
        lengths = prefix.mask.sum(dim=1)
        # A row without a token has no word from which the next one follows.
        if not lengths.all():
            raise ValueError(
                "a prefix must have at least one token ([CLS]) in every row, but one has none"
            )
        longest = int(lengths.max())
        left_pad = longest - lengths
        # Moved to the right, so that all rows write their next word at the same place.
        places = torch.arange(longest, device=left_pad.device) - left_pad[:, None]
        ids = prefix.ids.gather(1, places.clamp(min=0))
        # None where all are equally long: a step then needs no mask.
        state.left_pad = left_pad if left_pad.any() else None
    return state, decoder.decode(ids[:, None], state)[:, 0, -1]


def remaining_rows(active: Bool[Tensor, " rows"]) -> Int[Tensor, " remaining"] | None:
    """Return the numbers of the rows that are still written, or None if no rank has any.

    A rank without any, while others still write, keeps its first row: nothing of it counts any more.
    """
    remaining = active.nonzero().flatten()
    if not any_rank_active(len(remaining) > 0, active.device):
        return None
    # Its decoder may be sharded: each step of the others needs this rank to call it.
    return remaining if len(remaining) > 0 else remaining.new_zeros(1)


def stack_hypotheses(
    per_sample: list[list[Hypothesis]], num_return_sequences: int, device: torch.device
) -> Sequences:
    """The ``num_return_sequences`` hypotheses of every sample, best first, padded with 0."""
    ids, scores, logprobs, lengths = [], [], [], []
    for hypotheses in per_sample:
        # `sorted` is stable: of equal scores, the hypothesis that was complete first comes first.
        ordered = sorted(
            hypotheses, key=lambda hypothesis: hypothesis.score, reverse=True
        )
        for hypothesis in ordered[:num_return_sequences]:
            ids.append(hypothesis.ids)
            scores.append(hypothesis.score)
            logprobs.append(hypothesis.logprobs)
            lengths.append(len(hypothesis.ids) - 1)  # without [CLS]
    # (samples * best, ...) -> (samples, best, ...); every sample has as many hypotheses
    shape = (len(per_sample), -1)
    return Sequences(
        pad_sequence(ids, batch_first=True).unflatten(0, shape),
        torch.tensor(scores, device=device).unflatten(0, shape),
        pad_sequence(logprobs, batch_first=True).unflatten(0, shape),
        torch.tensor(lengths, device=device).unflatten(0, shape),
    )


def write_all(
    decoder: TextDecoder,
    memory: Tokens | None,
    prefix: Text | None,
    num_beams: int,
    num_return_sequences: int,
    max_length: int,
) -> Sequences:
    """The most work a search can have: every beam written to its full length (meta device: shapes and
    FLOPs).

    Two passes represent all steps: half of the tokens in one, as if each saw them all, and then the others as
    separate beams, as if none saw another. The errors of the two cancel.
    """
    samples, device = rows_of(memory, prefix)
    state = decoder.init_cache(memory)
    before = 1 if prefix is None else prefix.ids.shape[1]
    ids = torch.empty(samples, 1, before, dtype=torch.long, device=device)
    decoder.decode(ids, state)
    # The last token is written, but no step reads it.
    half = (max_length - 1) // 2
    if half:
        state.reorder(ids.new_zeros(samples * num_beams))
        words = ids.new_empty(samples, num_beams, half)
        decoder.decode(words, state, last_only=False)
    if rest := num_beams * (max_length - 1 - half):
        state.reorder(ids.new_zeros(samples * rest))
        decoder.decode(ids.new_empty(samples, rest, 1), state)
    written = ids.new_empty(samples, num_return_sequences, max_length + 1)
    scores = torch.empty(samples, num_return_sequences, device=device)
    return Sequences(written, scores, torch.empty(written.shape, device=device))
