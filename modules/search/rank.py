"""Ranking of given answers by their likelihood."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from modules.decoder import DecoderState, TextDecoder
from modules.search.common import dry_run
from modules.streams import Sequences, Text, Tokens
from registry import operation


def sequence_losses(
    decoder: TextDecoder,
    state: DecoderState,
    ids: Int[Tensor, "samples k length"],
    mask: Tensor,
) -> Float[Tensor, "samples k"]:
    """The summed cross-entropy of ``ids`` after their first word, all k texts of a sample on one copy of
    its memory."""
    logits = decoder.write(ids[:, :, :-1], state, last_only=False)
    # (samples, k, length - 1, vocab) -> (samples, k, length - 1)
    losses = F.cross_entropy(logits.float().flatten(0, 2), ids[:, :, 1:].flatten(), reduction="none")
    return (losses.view(ids[:, :, 1:].shape) * mask[:, :, 1:]).sum(dim=-1)


def _dry_rank(
    decoder: TextDecoder, memory: Tokens, candidates: Text, *, keep: int = 128, **_: Any
) -> dict[str, Any]:
    samples, (count, length) = memory.values.shape[0], candidates.ids.shape
    keep = min(keep, count)
    ids = torch.empty(samples, keep, length, dtype=torch.long, device=memory.values.device)
    decoder.write(ids[:, :1, :1], decoder.start(memory))
    decoder.write(ids[:, :, :-1], decoder.start(memory), last_only=False)
    scores = torch.empty(samples, keep, device=ids.device)
    first = torch.empty(samples, count, device=ids.device)
    return {"answer": Sequences(ids, scores), "choice": ids[..., 0], "first": first, "losses": scores}


@dry_run(_dry_rank)
@operation(
    inputs={"decoder": "module", "memory": "tokens B M width", "candidates": "text C Lc"},
    outputs={
        "answer": "sequences B keep",
        "choice": "index B keep",
        "first": "scores B C",
        "losses": "scores B keep",
    },
)
@torch.no_grad()
def rank(
    decoder: TextDecoder,
    memory: Tokens,
    candidates: Text,
    *,
    keep: int = 128,
    first_token: Literal["once", "twice"] = "once",
) -> dict[str, Any]:
    """Rank ``candidates`` for every sample: the ``keep`` with the likeliest first word are scored to their
    ends.

    ``first_token='twice'`` is the released score, ``log p(first) - sum of all word losses``, in which the
    first word counts twice; ``'once'`` leaves the extra term out. The scores are a softmax over the ones
    kept. ``choice``: the candidates' indices, best first; ``losses``: their summed word losses in that order;
    ``first``: p(first word).
    """
    keep = min(keep, len(candidates.ids))
    samples = memory.values.shape[0]
    state = decoder.start(memory)
    start = candidates.ids[0, 0].expand(samples, 1, 1)
    words = F.softmax(decoder.write(start, state)[:, 0, 0].float(), dim=-1)
    first = words[:, candidates.ids[:, 1]]
    likely, choice = first.topk(keep)
    # (samples, keep, length); the state is begun anew, since its rows are now candidates
    state.words, state.length = [], 0
    losses = sequence_losses(decoder, state, candidates.ids[choice], candidates.mask[choice])
    score = likely.log() - losses if first_token == "twice" else -losses
    score, order = F.softmax(score, dim=-1).sort(dim=-1, descending=True)
    choice = choice.gather(1, order)
    answer = Sequences(candidates.ids[choice], score)
    return {"answer": answer, "choice": choice, "first": first, "losses": losses.gather(1, order)}
