"""Beam search with the released scoring, diverse beams, and greedy search, the case of one beam."""

from __future__ import annotations

from dataclasses import dataclass
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
    # Groups are equal parts of the beams.
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
    return write_all(
        decoder, memory, prefix, num_beams, num_return_sequences, max_length
    )


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


@dataclass
class _Beams:
    """The beams of all samples that are still written; one row is one sample."""

    row_to_sample: Int[Tensor, " rows"]
    texts: Int[Tensor, "rows beams length"]  # [CLS] first
    token_logprobs: Float[Tensor, "rows beams length"]
    cum_logprobs: Float[Tensor, "rows beams"]
    active_groups: Bool[Tensor, "rows groups"]

    @classmethod
    def start(
        cls,
        samples: int,
        num_beams: int,
        groups: int,
        token_id: int,
        device: torch.device,
    ) -> _Beams:
        """Return beams that hold one token, all the same: the first of each group counts alone."""
        cum_logprobs = torch.full((samples, num_beams), -torch.inf, device=device)
        # Equal beams would write equal texts. In a group, only the first one has a probability at first.
        cum_logprobs[:, :: num_beams // groups] = 0.0
        row_to_sample = torch.arange(samples, device=device)
        texts = row_to_sample.new_full((samples, num_beams, 1), token_id)
        active_groups = torch.ones(samples, groups, dtype=torch.bool, device=device)
        token_logprobs = torch.zeros(texts.shape, device=device)
        return cls(row_to_sample, texts, token_logprobs, cum_logprobs, active_groups)

    def extend(
        self, logprobs: Float[Tensor, "rows beams vocab"], diversity_penalty: float
    ) -> tuple[Int[Tensor, "rows beams"], Int[Tensor, "rows beams"]]:
        """Write the next token of each beam; return the beams that they continue, and the tokens."""
        self.cum_logprobs, origin, chosen = _choose(
            self.cum_logprobs, logprobs, diversity_penalty, self.active_groups
        )
        rows = torch.arange(len(logprobs), device=logprobs.device)[:, None]
        chosen_logprobs = logprobs[rows, origin, chosen]
        self.texts = _extended(self.texts, origin, chosen)
        self.token_logprobs = _extended(self.token_logprobs, origin, chosen_logprobs)
        return origin, chosen

    def finish(
        self, ended: Bool[Tensor, "rows beams"], is_last: bool
    ) -> Bool[Tensor, "rows beams"]:
        """Return the beams whose text is complete in this step, and stop their groups.

        A group stops when its best beam has just ended, or at the last step; then all its beams count.
        """
        num_groups = self.active_groups.shape[1]
        group_size = ended.shape[1] // num_groups
        # Beams of a group are in order: the first is its best.
        stop = ended.unflatten(1, (num_groups, -1))[..., 0] | is_last
        finished = ended | stop.repeat_interleave(group_size, dim=1)
        finished &= self.active_groups.repeat_interleave(group_size, dim=1)
        self.active_groups = self.active_groups & ~stop
        return finished

    def note(
        self,
        finished: Bool[Tensor, "rows beams"],
        scores: Float[Tensor, "rows beams"],
        done: list[list[Hypothesis]],
    ) -> None:
        """Add the texts of the ``finished`` beams to those of their samples."""
        # One transfer from the device for all, not one for each number.
        samples, values = self.row_to_sample.tolist(), scores.tolist()
        for row, beam in finished.nonzero().tolist():
            text, logprobs = self.texts[row, beam], self.token_logprobs[row, beam]
            done[samples[row]].append(Hypothesis(values[row][beam], text, logprobs))

    def keep(self, remaining: Int[Tensor, " kept"]) -> None:
        """Keep the ``remaining`` rows."""
        self.row_to_sample = self.row_to_sample[remaining]
        self.texts = self.texts[remaining]
        self.token_logprobs = self.token_logprobs[remaining]
        self.cum_logprobs = self.cum_logprobs[remaining]
        self.active_groups = self.active_groups[remaining]


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
    vocab_size = logprobs.shape[-1]
    group_size = cum_logprobs.shape[1] // counts.shape[1]
    times_taken = logprobs.new_zeros(len(logprobs), 1, vocab_size)
    totals, origins, tokens = [], [], []
    for group, first in enumerate(range(0, cum_logprobs.shape[1], group_size)):
        beams_of_group = slice(first, first + group_size)
        total = cum_logprobs[:, beams_of_group, None] + logprobs[:, beams_of_group]
        diverse = total
        # The first group has none before it to differ from.
        if group and diversity_penalty:
            diverse = total - diversity_penalty * times_taken
        # (rows, size, vocab) -> (rows, size * vocab): all continuations of a group's beams compete
        choice = diverse.flatten(1).topk(group_size).indices
        chosen = choice % vocab_size
        totals.append(total.flatten(1).gather(1, choice))
        origins.append(first + choice // vocab_size)
        tokens.append(chosen)
        if diversity_penalty:
            is_active = counts[:, group, None].expand(-1, group_size)
            added = is_active.to(times_taken.dtype)[:, None]
            times_taken.scatter_add_(2, chosen[:, None], added)
    return torch.cat(totals, dim=1), torch.cat(origins, dim=1), torch.cat(tokens, dim=1)


def _continue_rows(
    state: DecoderCache,
    remaining: Int[Tensor, " kept"],
    parents: Int[Tensor, "rows beams"],
) -> None:
    """Keep the ``remaining`` rows of the cache.

    ``parents``: the row of the cache, beams flattened, that each beam continues.
    """
    state.reorder(parents[remaining].flatten())
    # The memories change only where a row has ended: beams of a sample share one.
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
    logits, cached_beams = logits[:, None].expand(-1, num_beams, -1), 1
    beams = _Beams.start(samples, num_beams, num_beam_groups, bos_token_id, device)
    done: list[list[Hypothesis]] = [[] for _ in range(samples)]
    for step in range(max_length):
        logprobs = F.log_softmax(logits.float(), dim=-1)
        if step < min_length:
            logprobs[..., eos_token_id] = FORBIDDEN
        origin, chosen = beams.extend(logprobs, diversity_penalty)
        scores = beams.cum_logprobs / ((5 + step + 1) / 6) ** length_penalty
        is_last = step + 1 == max_length
        finished = beams.finish(chosen == eos_token_id, is_last)
        beams.note(finished, scores, done)
        remaining = None if is_last else remaining_rows(beams.active_groups.any(dim=1))
        if remaining is None:
            break
        # After the first step the cache has one row for all beams of a sample.
        rows = torch.arange(len(logprobs), device=device)[:, None]
        parents = origin.clamp(max=cached_beams - 1) + rows * cached_beams
        _continue_rows(state, remaining, parents)
        beams.keep(remaining)
        # One new token for each beam: (rows, beams, 1, vocab) -> (rows, beams, vocab)
        logits = decoder.decode(beams.texts[:, :, -1:], state)[:, :, -1]
        cached_beams = num_beams
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
