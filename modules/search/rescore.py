"""Texts that are there already, scored by a decoder: with gradient, in one pass over all their words."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional as F

from modules.decoder import TextDecoder
from modules.streams import Sequences, Text, Tokens
from registry import operation


def written(texts: Sequences, eos_token_id: int) -> Bool[Tensor, "b n length"]:
    """Which ids were written: those after the first, up to and with the first ``eos_token_id``, within their
    length."""
    ends = texts.ids == eos_token_id
    mask = ends.cumsum(dim=-1) - ends.long() == 0
    mask[..., 0] = False
    if texts.lengths is not None:
        mask &= (
            torch.arange(mask.shape[-1], device=mask.device) <= texts.lengths[..., None]
        )
    return mask


@operation(
    inputs={
        "decoder": "module",
        "memory": "tokens B M width",
        "texts": "sequences B n",
        "prefix?": "text B P",
    },
    outputs="sequences B n",
)
def score_sequences(
    decoder: TextDecoder,
    memory: Tokens,
    texts: Sequences,
    prefix: Text | None = None,
    *,
    score: Literal["sum", "mean", "released"] = "sum",
    length_penalty: float = 0.6,
    eos_token_id: int = 102,
) -> Sequences:
    """Score each of ``texts`` up to its first ``eos_token_id`` by ``decoder``, with gradient, in the order
    given.

    The scores are the sum or the mean of the words' log-probabilities, or what released mPLUG trains with:
    the score of a beam (see `beam_search`, ``length_penalty`` is its own), divided by the number of ids, the
    first one counted. All texts of a sample are read in one pass over one copy of its memory. A ``prefix``
    that they were written after is read before them, not scored.
    """
    ids, mask = texts.ids, written(texts, eos_token_id)
    samples, count, length = ids.shape
    if prefix is None:
        first = ids[:, :1, :1].expand(-1, count, -1)
        last = torch.zeros_like(ids[:, :, :1])
        valid = torch.ones_like(first, dtype=torch.bool)
    else:
        first = prefix.ids[:, None].expand(-1, count, -1)
        valid = prefix.mask[:, None].expand(-1, count, -1)
        last = valid.sum(dim=-1, keepdim=True) - 1  # the place of the prefix's last token
    # The words follow the prefix's last token, whatever comes after it in other rows.
    places = torch.arange(first.shape[-1] + length - 1, device=ids.device).expand(
        samples, count, -1
    )
    shift = (places > last) * (first.shape[-1] - 1 - last)
    source = (places + shift).clamp(max=places.shape[-1] - 1)
    joined = torch.cat([first, ids[..., 1:]], dim=2).gather(2, source)
    valid_tokens = torch.cat([valid, mask[..., 1:]], dim=2).gather(2, source)
    valid_tokens = valid_tokens & (places + shift < places.shape[-1])
    # (samples, n, length) -> (samples * n, length): the texts of a sample are adjacent
    logits = decoder(Text(joined.flatten(0, 1), valid_tokens.flatten(0, 1)), memory)
    losses = F.cross_entropy(
        logits[:, :-1].float().flatten(0, 1),
        joined.flatten(0, 1)[:, 1:].flatten(),
        reduction="none",
    ).view(samples, count, -1)
    positions = last + torch.arange(
        length - 1, device=ids.device
    )  # the place that each word is foretold at
    logprobs = -losses.gather(2, positions) * mask[..., 1:]
    total = logprobs.sum(dim=-1)
    num_tokens = mask.sum(dim=-1)
    if score == "mean":
        total = total / num_tokens.clamp(min=1)
    elif score == "released":
        total = total / ((5 + num_tokens) / 6) ** length_penalty / (1 + num_tokens)
    return Sequences(ids, total, F.pad(logprobs, (1, 0)), num_tokens)
