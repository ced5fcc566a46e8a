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
    # Ends before each place, that of the place itself not counted.
    mask = ends.cumsum(dim=-1) - ends.long() == 0
    mask[..., 0] = False
    if texts.lengths is not None:
        # Lengths do not count the first id, which has place 0.
        places = torch.arange(mask.shape[-1], device=mask.device)
        mask &= places <= texts.lengths[..., None]
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
        last = (
            valid.sum(dim=-1, keepdim=True) - 1
        )  # the place of the prefix's last token
    # The words follow the prefix's last token, whatever comes after it in other rows.
    total_length = first.shape[-1] + length - 1
    places = torch.arange(total_length, device=ids.device).expand(samples, count, -1)
    # Places after the prefix's last token read further on, past its padding.
    shift = (places > last) * (first.shape[-1] - 1 - last)
    source = (places + shift).clamp(max=total_length - 1)
    joined = torch.cat([first, ids[..., 1:]], dim=2).gather(2, source)
    valid_tokens = torch.cat([valid, mask[..., 1:]], dim=2).gather(2, source)
    # What would be read beyond the end is the clamped last place again, which does not count.
    valid_tokens = valid_tokens & (places + shift < total_length)
    # (samples, n, length) -> (samples * n, length): the texts of a sample are adjacent
    joined, valid_tokens = joined.flatten(0, 1), valid_tokens.flatten(0, 1)
    logits = decoder(Text(joined, valid_tokens), memory)
    predictions = logits[:, :-1].float().flatten(0, 1)
    losses = F.cross_entropy(predictions, joined[:, 1:].flatten(), reduction="none")
    losses = losses.view(samples, count, -1)
    # The place at which each word is predicted: that of the token before it.
    positions = last + torch.arange(length - 1, device=ids.device)
    logprobs = -losses.gather(2, positions) * mask[..., 1:]
    total = logprobs.sum(dim=-1)
    num_tokens = mask.sum(dim=-1)
    if score == "mean":
        total = total / num_tokens.clamp(min=1)
    elif score == "released":
        # The length penalty of a beam at its last step, then the mean over all ids with [CLS].
        total = total / ((5 + num_tokens) / 6) ** length_penalty / (1 + num_tokens)
    return Sequences(ids, total, F.pad(logprobs, (1, 0)), num_tokens)
