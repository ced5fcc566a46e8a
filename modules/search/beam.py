"""Beam search with the released scoring, diverse beams, and greedy search, the case of one beam."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

from modules.decoder import DecoderCache, TextDecoder
from modules.search.common import (
    FORBIDDEN,
    Hypothesis,
    check_lengths,
    dry_run,
    eval_no_grad,
    prefill,
    remaining_rows,
    rows_of,
    stack_hypotheses,
    write_all,
)
from modules.streams import Sequences, Text, Tokens
from registry import operation


def _check(
    num_beams: int,
    num_return_sequences: int,
    num_beam_groups: int,
    min_length: int,
    max_length: int,
) -> None:
    check_lengths(min_length, max_length)
    if not 1 <= num_return_sequences <= num_beams:
        raise ValueError(
            "num_return_sequences must be 1 to num_beams, but num_return_sequences is "
            f"{num_return_sequences} and num_beams is {num_beams}"
        )
    if num_beam_groups < 1 or num_beams % num_beam_groups:
        raise ValueError(
            f"num_beam_groups must divide num_beams, but num_beam_groups is {num_beam_groups} and num_beams "
            f"is {num_beams}"
        )


def _dry_beam(
    decoder: TextDecoder,
    memory: Tokens | None,
    prefix: Text | None,
    num_beams: int,
    num_return_sequences: int,
    num_beam_groups: int,
    min_length: int,
    max_length: int,
    **_: Any,
) -> Sequences:
    _check(num_beams, num_return_sequences, num_beam_groups, min_length, max_length)
    return write_all(decoder, memory, prefix, num_beams, num_return_sequences, max_length)


def _dry_greedy(
    decoder: TextDecoder,
    memory: Tokens | None,
    prefix: Text | None,
    min_length: int,
    max_length: int,
    **_: Any,
) -> Sequences:
    check_lengths(min_length, max_length)
    return write_all(decoder, memory, prefix, 1, 1, max_length)


def _note(
    done: list[list[Hypothesis]],
    row_to_sample: Int[Tensor, " rows"],
    which: Bool[Tensor, "rows beams"],
    scores: Float[Tensor, "rows beams"],
    texts: Int[Tensor, "rows beams length"],
    token_logprobs: Float[Tensor, "rows beams length"],
) -> None:
    """File the hypotheses marked in ``which`` under their samples."""
    samples, values = row_to_sample.tolist(), scores.tolist()
    for row, beam in which.nonzero().tolist():
        done[samples[row]].append(
            Hypothesis(values[row][beam], texts[row, beam], token_logprobs[row, beam])
        )


def _choose(
    cum_logprobs: Float[Tensor, "rows beams"],
    logprobs: Float[Tensor, "rows beams vocab"],
    diversity_penalty: float,
    counts: Bool[Tensor, "rows groups"],
) -> tuple[
    Float[Tensor, "rows beams"], Int[Tensor, "rows beams"], Int[Tensor, "rows beams"]
]:
    """Return each group's best continuations: their log-probabilities, the beams that they continue, and
    their tokens.

    A token loses ``diversity_penalty`` for each beam of an earlier group that ``counts`` and has just written
    it, when continuations are chosen; what is returned is without that. The penalty for length divides all
    beams of a step by the same number: it changes no choice.
    """
    size = cum_logprobs.shape[1] // counts.shape[1]
    taken = logprobs.new_zeros(len(logprobs), 1, logprobs.shape[-1])
    totals, origin, chosen = [], [], []
    for group, first in enumerate(range(0, cum_logprobs.shape[1], size)):
        beams_of_group = slice(first, first + size)
        worth = cum_logprobs[:, beams_of_group, None] + logprobs[:, beams_of_group]
        wished = (
            worth - diversity_penalty * taken if group and diversity_penalty else worth
        )
        # (rows, size, vocab) -> (rows, size * vocab): all continuations of a group's beams compete
        choice = wished.flatten(1).topk(size).indices
        totals.append(worth.flatten(1).gather(1, choice))
        origin.append(first + choice // logprobs.shape[-1])
        chosen.append(choice % logprobs.shape[-1])
        if diversity_penalty:
            times = counts[:, group, None].expand(-1, size).to(taken.dtype)
            taken.scatter_add_(2, chosen[-1][:, None], times[:, None])
    return torch.cat(totals, dim=1), torch.cat(origin, dim=1), torch.cat(chosen, dim=1)


def _first_scores(
    samples: int, num_beams: int, num_beam_groups: int, device: torch.device
) -> Float[Tensor, "samples beams"]:
    """Return the first log-probabilities of all beams: one beam of each group counts, for all are equal."""
    each = num_beams // num_beam_groups
    cum_logprobs = torch.full((samples, num_beam_groups, each), -torch.inf, device=device)
    cum_logprobs[:, :, 0] = 0.0
    return cum_logprobs.flatten(1)


def _continue_rows(
    state: DecoderCache,
    remaining: Int[Tensor, " kept"],
    parents: Int[Tensor, "rows beams"],
) -> None:
    """Keep the ``remaining`` rows of the cache.

    ``parents``: the row of the cache, beams flattened, that each beam continues.
    """
    state.reorder(parents[remaining].flatten())
    if len(remaining) < len(parents):
        state.keep(remaining)


def _extended(
    histories: Shaped[Tensor, "rows beams length"],
    origin: Int[Tensor, "rows beams"],
    added: Shaped[Tensor, "rows beams"],
) -> Shaped[Tensor, "rows beams length+1"]:
    """Return the history of each beam: that of the beam which it continues, and one more entry."""
    source = origin[..., None].expand(-1, -1, histories.shape[-1])
    return torch.cat([histories.gather(1, source), added[..., None]], dim=2)


def _finished(
    ended: Bool[Tensor, "rows beams"],
    is_last: bool,
    active_groups: Bool[Tensor, "rows groups"],
) -> tuple[Bool[Tensor, "rows beams"], Bool[Tensor, "rows groups"]]:
    """Return the beams whose text is complete in this step, and the groups that remain active.

    A group stops when its best beam has just ended, or at the last step; then all its beams count.
    """
    num_groups = active_groups.shape[1]
    each = ended.shape[1] // num_groups
    stop = ended.unflatten(1, (num_groups, -1))[..., 0] | is_last
    finished = ended | stop.repeat_interleave(each, dim=1)
    return finished & active_groups.repeat_interleave(each, dim=1), active_groups & ~stop


@dry_run(_dry_beam)
@operation(
    inputs={"decoder": "module", "memory?": "tokens B M width", "prefix?": "text B P"},
    outputs="sequences B num_return_sequences",
    conditions=(
        "1 <= num_beams",
        "1 <= num_return_sequences <= num_beams",
        "1 <= num_beam_groups <= num_beams",
        "num_beams % num_beam_groups == 0",
        "1 <= max_length <= decoder.max_positions",
        "0 <= min_length <= max_length",
        "0 <= bos_token_id < decoder.vocab_size",
        "0 <= eos_token_id < decoder.vocab_size",
    ),
)
@eval_no_grad
def beam_search(
    decoder: TextDecoder,
    memory: Tokens | None = None,
    prefix: Text | None = None,
    *,
    num_beams: int = 5,
    num_return_sequences: int = 1,
    num_beam_groups: int = 1,
    diversity_penalty: float = 0.0,
    min_length: int = 1,
    max_length: int = 10,
    length_penalty: float = 0.6,
    bos_token_id: int = 101,
    eos_token_id: int = 102,
) -> Sequences:
    """Write the ``num_return_sequences`` most probable texts of at most ``max_length`` tokens.

    Score: ``sum of log-probabilities / ((5 + step + 1) / 6) ** length_penalty``, step from 0;
    ``eos_token_id`` is forbidden before ``min_length`` words. Released behaviour: a finished beam is noted
    and continues; a sample stops when its best beam has just ended, or at ``max_length``, and then all its
    beams count.

    ``prefix``: the ids to continue from, [CLS] first, in place of ``bos_token_id``; results leave it out, and
    scores and lengths count what was written. A decoder without cross-attention has no ``memory`` and needs a
    prefix. ``num_beam_groups``: as many separate searches of ``num_beams / num_beam_groups`` beams, one after
    the other at each step, that avoid each other's words by ``diversity_penalty`` (Hamming diversity, arXiv
    1610.02424).
    """
    _check(num_beams, num_return_sequences, num_beam_groups, min_length, max_length)
    samples, device = rows_of(memory, prefix)
    state, logits = prefill(decoder, memory, prefix, bos_token_id, max_length)
    # (samples, vocab) -> (samples, beams, vocab): all beams are the same text as yet, read once
    logits, width = logits[:, None].expand(-1, num_beams, -1), 1
    row_to_sample = torch.arange(samples, device=device)
    texts = torch.full(
        (samples, num_beams, 1), bos_token_id, dtype=torch.long, device=device
    )
    token_logprobs = torch.zeros(texts.shape, device=device)
    cum_logprobs = _first_scores(samples, num_beams, num_beam_groups, device)
    active_groups = torch.ones(samples, num_beam_groups, dtype=torch.bool, device=device)
    done: list[list[Hypothesis]] = [[] for _ in range(samples)]
    for step in range(max_length):
        logprobs = F.log_softmax(logits.float(), dim=-1)
        if step < min_length:
            logprobs[..., eos_token_id] = FORBIDDEN
        cum_logprobs, origin, chosen = _choose(
            cum_logprobs, logprobs, diversity_penalty, active_groups
        )
        scores = cum_logprobs / ((5 + step + 1) / 6) ** length_penalty
        rows = torch.arange(len(logprobs), device=device)[:, None]
        texts = _extended(texts, origin, chosen)
        token_logprobs = _extended(token_logprobs, origin, logprobs[rows, origin, chosen])
        is_last = step + 1 == max_length
        finished, active_groups = _finished(
            chosen == eos_token_id, is_last, active_groups
        )
        _note(done, row_to_sample, finished, scores, texts, token_logprobs)
        remaining = None if is_last else remaining_rows(active_groups.any(dim=1))
        if remaining is None:
            break
        _continue_rows(state, remaining, origin.clamp(max=width - 1) + rows * width)
        row_to_sample, active_groups = row_to_sample[remaining], active_groups[remaining]
        texts, cum_logprobs = texts[remaining], cum_logprobs[remaining]
        token_logprobs = token_logprobs[remaining]
        logits, width = decoder.decode(texts[:, :, -1:], state)[:, :, -1], num_beams
    return stack_hypotheses(done, num_return_sequences, device)


@dry_run(_dry_greedy)
@operation(
    inputs={"decoder": "module", "memory?": "tokens B M width", "prefix?": "text B P"},
    outputs="sequences B 1",
    conditions=(
        "1 <= max_length <= decoder.max_positions",
        "0 <= min_length <= max_length",
        "0 <= bos_token_id < decoder.vocab_size",
        "0 <= eos_token_id < decoder.vocab_size",
    ),
)
def greedy_search(
    decoder: TextDecoder,
    memory: Tokens | None = None,
    prefix: Text | None = None,
    *,
    min_length: int = 1,
    max_length: int = 10,
    bos_token_id: int = 101,
    eos_token_id: int = 102,
) -> Sequences:
    """Generate the most probable token at every step, up to ``max_length`` tokens or to ``eos_token_id``.

    The score is the sum of the words' log-probabilities; ``prefix`` is as in `beam_search`.
    """
    lengths = {"min_length": min_length, "max_length": max_length}
    return beam_search(
        decoder,
        memory,
        prefix,
        num_beams=1,
        **lengths,
        length_penalty=0.0,
        bos_token_id=bos_token_id,
        eos_token_id=eos_token_id,
    )
