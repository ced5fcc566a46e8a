"""Ranking of given answers by their likelihood."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch.nn import functional as F

from modules.decoder import TextDecoder
from modules.search.common import dry_run, eval_no_grad, prefill
from modules.sizes import check_sizes
from modules.streams import Sequences, Text, Tokens
from registry import operation


def _dry_rank(
    decoder: TextDecoder,
    memory: Tokens,
    candidates: Text,
    prefix: Text | None,
    top_k: int,
    **_: Any,
) -> dict[str, Any]:
    check_sizes(top_k=top_k)
    samples, (count, length) = memory.values.shape[0], candidates.ids.shape
    top_k = min(top_k, count)
    before = 1 if prefix is None else prefix.ids.shape[1]
    device = memory.values.device
    ids = torch.empty(samples, top_k, length, dtype=torch.long, device=device)
    state = decoder.init_cache(memory)
    decoder.decode(ids.new_empty(samples, 1, before), state)
    state.reorder(ids.new_zeros(samples * top_k))
    decoder.decode(ids[:, :, 1:-1], state, last_only=False)
    scores = torch.empty(samples, top_k, device=ids.device)
    first = torch.empty(samples, count, device=ids.device)
    return {
        "answer": Sequences(ids, scores),
        "choice": ids[..., 0],
        "first": first,
        "losses": scores,
    }


@dry_run(_dry_rank)
@operation(
    inputs={
        "decoder": "module",
        "memory": "tokens B M width",
        "candidates": "text C Lc",
        "prefix?": "text B P",
    },
    outputs={
        "answer": "sequences B top_k",
        "choice": "index B top_k -> C",
        "first": "scores B C",
        "losses": "scores B top_k",
    },
    conditions=("1 <= top_k",),
)
@eval_no_grad
def rank_answers(
    decoder: TextDecoder,
    memory: Tokens,
    candidates: Text,
    prefix: Text | None = None,
    *,
    top_k: int = 128,
    first_token: Literal["once", "twice"] = "once",
) -> dict[str, Any]:
    """Rank ``candidates`` for every sample: the ``top_k`` with the most probable first token are scored to
    their ends.

    ``first_token='twice'`` is the released score, ``log p(first) - sum of all word losses``, in which the
    first word counts twice; ``'once'`` leaves the extra term out. The scores are a softmax over the ones
    kept. ``choice``: the candidates' indices, best first; ``losses``: their summed token losses in that
    order; ``first``: p(first word). A ``prefix`` replaces the candidates' [CLS].
    """
    check_sizes(top_k=top_k)
    top_k = min(top_k, len(candidates.ids))
    samples = memory.values.shape[0]
    state, logits = prefill(decoder, memory, prefix, int(candidates.ids[0, 0]))
    # (samples, vocab) -> (samples, candidates): one pass over the prefix scores all first tokens.
    first = F.log_softmax(logits.float(), dim=-1)[:, candidates.ids[:, 1]]
    likely, choice = first.topk(top_k)
    ids, mask = candidates.ids[choice], candidates.mask[choice]
    # The first token was scored with the prefix; an empty candidate has none.
    losses = -likely * mask[..., 1]
    # With one token after [CLS], nothing is left to score.
    if ids.shape[-1] > 2:
        # (samples, keep, length): the texts of a sample continue its prefix, over one copy of its memory
        state.reorder(torch.arange(samples, device=ids.device).repeat_interleave(top_k))
        logits = decoder.decode(ids[..., 1:-1], state, last_only=False)
        # (samples, keep, length - 2, vocab) -> (samples, keep, length - 2)
        words = ids[..., 2:]
        rest = F.cross_entropy(
            logits.float().flatten(0, 2), words.flatten(), reduction="none"
        )
        losses = losses + (rest.view(words.shape) * mask[..., 2:]).sum(dim=-1)
    score = likely - losses if first_token == "twice" else -losses
    score, order = F.softmax(score, dim=-1).sort(dim=-1, descending=True)
    # From places among the candidates kept to numbers of candidates.
    choice = choice.gather(1, order)
    answer = Sequences(candidates.ids[choice], score)
    return {
        "answer": answer,
        "choice": choice,
        "first": first.exp(),
        "losses": losses.gather(1, order),
    }
