"""Sampling: texts drawn from the decoder's own distribution, or from its likely part."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from modules.decoder import DecoderCache, TextDecoder
from modules.search.common import (
    FORBIDDEN,
    check_lengths,
    dry_run,
    eval_no_grad,
    prefill,
    remaining_rows,
    rows_of,
    write_all,
)
from modules.streams import Sequences, Text, Tokens
from registry import operation


def _check(
    n: int,
    top_k: int,
    top_p: float,
    temperature: float,
    min_length: int,
    max_length: int,
) -> None:
    check_lengths(min_length, max_length)
    if n < 1 or top_k < 0 or not 0 < top_p <= 1 or temperature <= 0:
        raise ValueError(
            "n must be at least 1, top_k at least 0, top_p above 0 and at most 1, temperature above 0, "
            f"but they are {n}, {top_k}, {top_p} and {temperature}"
        )


def _dry_sample(
    decoder: TextDecoder,
    memory: Tokens | None,
    prefix: Text | None,
    n: int,
    top_k: int,
    top_p: float,
    temperature: float,
    min_length: int,
    max_length: int,
    **_: Any,
) -> Sequences:
    _check(n, top_k, top_p, temperature, min_length, max_length)
    return write_all(decoder, memory, prefix, n, n, max_length)


def likely(
    logprobs: Float[Tensor, "*batch vocab"],
    temperature: float,
    top_k: int,
    top_p: float,
) -> Float[Tensor, "*batch vocab"]:
    """Probabilities of ``softmax(words / temperature)`` cut to the ``top_k`` most probable tokens (0: all),
    then to the fewest of them that hold ``top_p`` (arXiv 1904.09751)."""
    logprobs = logprobs / temperature
    if 0 < top_k < logprobs.shape[-1]:
        # Tokens as probable as the last of the top_k stay, too.
        least = logprobs.topk(top_k).values[..., -1:]
        logprobs = logprobs.masked_fill(logprobs < least, -torch.inf)
    probabilities = F.softmax(logprobs, dim=-1)
    if top_p < 1:
        ordered, order = probabilities.sort(dim=-1, descending=True)
        # A token stays while those before it have less than top_p: the most probable one always does.
        kept = ordered.cumsum(dim=-1) - ordered < top_p
        probabilities = torch.zeros_like(probabilities).scatter(
            -1, order, ordered * kept
        )
    # They need not add up to 1: multinomial divides by their sum.
    return probabilities


def _generator(seed: int | None, device: torch.device) -> torch.Generator | None:
    return None if seed is None else torch.Generator(device).manual_seed(seed)


@dry_run(_dry_sample)
@operation(
    inputs={"decoder": "module", "memory?": "tokens B M width", "prefix?": "text B P"},
    outputs="sequences B n",
    conditions=(
        "1 <= n",
        "0 <= top_k",
        "0 < top_p <= 1",
        "0 < temperature",
        "1 <= max_length <= decoder.max_positions",
        "0 <= min_length <= max_length",
        "0 <= bos_token_id < decoder.vocab_size",
        "0 <= eos_token_id < decoder.vocab_size",
    ),
)
@eval_no_grad
def sample_search(
    decoder: TextDecoder,
    memory: Tokens | None = None,
    prefix: Text | None = None,
    *,
    n: int = 1,
    top_k: int = 0,
    top_p: float = 1.0,
    temperature: float = 1.0,
    min_length: int = 1,
    max_length: int = 10,
    seed: int | None = None,
    bos_token_id: int = 101,
    eos_token_id: int = 102,
) -> Sequences:
    """Draw ``n`` texts of up to ``max_length`` words for each sample, word by word.

    The distribution is sharpened by ``temperature`` and cut to ``top_k`` and ``top_p`` (see `likely`), and
    ``eos_token_id`` cannot come before ``min_length`` words. The log-probabilities given are the decoder's
    own, before that; a score is their sum, the best comes first. ``prefix`` is as in `beam_search`.

    ``seed``: the same texts at every call, from a separate generator; without one, torch's global
    generator, which training saves and restores, is drawn from.
    """
    _check(n, top_k, top_p, temperature, min_length, max_length)
    samples, device = rows_of(memory, prefix)
    generator = _generator(seed, device)
    state, logits = prefill(decoder, memory, prefix, bos_token_id, max_length)
    # (samples, vocab) -> (samples, n, vocab): the prefix is read once for all n
    state.reorder(torch.arange(samples, device=device).repeat_interleave(n))
    logits = logits[:, None].expand(-1, n, -1)
    row_to_sample = torch.arange(samples, device=device)
    over = torch.zeros(samples, n, dtype=torch.bool, device=device)
    ids = torch.zeros(samples, n, max_length + 1, dtype=torch.long, device=device)
    ids[..., 0] = bos_token_id
    logprobs = torch.zeros(ids.shape, device=device)
    for step in range(max_length):
        step_logprobs = F.log_softmax(logits.float(), dim=-1)
        eos_allowed = step >= min_length
        offered = (
            step_logprobs if eos_allowed else _without(step_logprobs, eos_token_id)
        )
        probabilities = likely(offered, temperature, top_k, top_p)
        # multinomial takes matrices: (rows * n, vocab) -> (rows * n, 1) -> (rows, n)
        drawn = torch.multinomial(probabilities.flatten(0, 1), 1, generator=generator)
        chosen = drawn.view(over.shape)
        chosen_logprobs = step_logprobs.gather(2, chosen[..., None])[..., 0]
        position = (row_to_sample, slice(None), step + 1)
        # A text that has ended keeps its padding.
        ids[position] = torch.where(over, ids[position], chosen)
        logprobs[position] = torch.where(over, logprobs[position], chosen_logprobs)
        over = over | (chosen == eos_token_id)
        is_last = step + 1 == max_length
        remaining = None if is_last else remaining_rows(~over.all(dim=1))
        if remaining is None:
            break
        _keep_rows(state, remaining, over.shape)
        row_to_sample, over = row_to_sample[remaining], over[remaining]
        logits = decoder.decode(chosen[remaining][..., None], state)[:, :, -1]
    return _best_first(ids[..., : step + 2], logprobs[..., : step + 2])


def _without(
    logprobs: Float[Tensor, "rows n vocab"], token_id: int
) -> Float[Tensor, "rows n vocab"]:
    """Return the log-probabilities with a token forbidden, in a copy: the scores are of the originals."""
    allowed = logprobs.clone()
    allowed[..., token_id] = FORBIDDEN
    return allowed


def _keep_rows(
    state: DecoderCache, remaining: Int[Tensor, " kept"], shape: torch.Size
) -> None:
    """Keep the ``remaining`` rows of the cache. ``shape``: how many rows it has, and texts in each."""
    rows, n = shape
    # Both calls copy the cache: only where a row has ended.
    if len(remaining) == rows:
        return
    state.keep(remaining)
    texts = remaining[:, None] * n + torch.arange(n, device=remaining.device)
    state.reorder(texts.flatten())


def _best_first(
    ids: Int[Tensor, "b n length"], logprobs: Float[Tensor, "b n length"]
) -> Sequences:
    scores, order = logprobs.sum(dim=-1).sort(dim=-1, descending=True)
    places = order[..., None].expand(ids.shape)
    return Sequences(ids.gather(1, places), scores, logprobs.gather(1, places))
