"""Beam search with the released scoring, and greedy search, its case of one beam."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from modules.decoder import TextDecoder
from modules.lockstep import any_active
from modules.search.common import Hypothesis, dry_run, pack, write_all
from modules.streams import Sequences, Tokens
from registry import operation

FORBIDDEN = -1e20  # the log-probability of a word that must not come


def _dry_beam(
    decoder: TextDecoder, memory: Tokens, *, beams: int = 5, best: int = 1, **options: Any
) -> Sequences:
    return write_all(decoder, memory, beams, best, options.get("max_length", 10))


def _dry_greedy(decoder: TextDecoder, memory: Tokens, **options: Any) -> Sequences:
    return write_all(decoder, memory, 1, 1, options.get("max_length", 10))


def _note(
    done: list[list[Hypothesis]],
    alive: Int[Tensor, " rows"],
    which: Bool[Tensor, "rows beams"],
    scores: Float[Tensor, "rows beams"],
    texts: Int[Tensor, "rows beams length"],
) -> None:
    """File the hypotheses marked in ``which`` under their samples."""
    samples, values = alive.tolist(), scores.tolist()
    for row, beam in which.nonzero().tolist():
        done[samples[row]].append((values[row][beam], texts[row, beam]))


@dry_run(_dry_beam)
@operation(inputs={"decoder": "module", "memory": "tokens B M width"}, outputs="sequences B best")
@torch.no_grad()
def beam_search(
    decoder: TextDecoder,
    memory: Tokens,
    *,
    beams: int = 5,
    best: int = 1,
    min_length: int = 1,
    max_length: int = 10,
    penalty: float = 0.6,
    start: int = 101,
    end: int = 102,
) -> Sequences:
    """Write the ``best`` likeliest texts of up to ``max_length`` words, by beams of ``beams``.

    Score: ``sum of log-probabilities / ((5 + step + 1) / 6) ** penalty``, step from 0; ``end`` is forbidden
    before ``min_length`` words. Released behaviour: a finished beam is noted and goes on; a sample stops when
    its best beam has just ended, or at ``max_length``, and then all its beams count.
    """
    if not 1 <= best <= beams:
        raise ValueError(f"best must be 1 to beams, but best is {best} and beams is {beams}")
    samples, device = memory.values.shape[0], memory.values.device
    state = decoder.start(memory)
    alive = torch.arange(samples, device=device)  # which sample each remaining row is
    texts = torch.full((samples, beams, 1), start, dtype=torch.long, device=device)
    total = torch.full((samples, beams), -torch.inf, device=device)
    total[:, 0] = 0.0  # all beams are the same text as yet: let one of them count
    done: list[list[Hypothesis]] = [
        [] for _ in range(samples + 1)
    ]  # the last one: rows kept alive for other ranks
    for step in range(max_length):
        logits = decoder.write(texts[:, :, -1:], state)[:, :, -1]
        words = F.log_softmax(logits.float(), dim=-1)
        if step < min_length:
            words[..., end] = FORBIDDEN
        scale = ((5 + step + 1) / 6) ** penalty
        # (rows, beams, vocab) -> (rows, beams * vocab): all continuations of all beams compete
        scores, choice = ((total[..., None] + words) / scale).flatten(1).topk(beams)
        total, origin = scores * scale, choice // decoder.vocab
        chosen = choice % decoder.vocab
        # (rows, beams, length): each beam is its origin's text and one more word
        texts = torch.cat(
            [texts.gather(1, origin[..., None].expand(-1, -1, step + 1)), chosen[..., None]], dim=2
        )
        ended = chosen == end
        stop = ended[:, 0] if step + 1 < max_length else torch.ones_like(ended[:, 0])
        _note(done, alive, ended | stop[:, None], scores, texts)
        going = (~stop).nonzero().flatten()
        if step + 1 == max_length or not any_active(len(going) > 0, device):
            break
        if len(going) == 0:  # other ranks still write: keep one row going for their sake
            going, alive = going.new_zeros(1), torch.full_like(alive, samples)
        # (rows, beams): the row of the state, beams flattened, that each beam goes on from
        parents = origin + torch.arange(len(alive), device=device)[:, None] * beams
        state.reorder(parents[going].flatten())
        if len(going) < len(alive):
            state.keep(going)
        alive, texts, total = alive[going], texts[going], total[going]
    return pack(done[:samples], best, device)


@dry_run(_dry_greedy)
@operation(inputs={"decoder": "module", "memory": "tokens B M width"}, outputs="sequences B 1")
def greedy_search(
    decoder: TextDecoder,
    memory: Tokens,
    *,
    min_length: int = 1,
    max_length: int = 10,
    start: int = 101,
    end: int = 102,
) -> Sequences:
    """Write the likeliest word at every step, up to ``max_length`` words or to ``end``."""
    lengths = {"min_length": min_length, "max_length": max_length}
    return beam_search(decoder, memory, beams=1, **lengths, penalty=0.0, start=start, end=end)
