"""Scores of chosen pairs of an image and a caption, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mplug2.eval.store import Store
from mplug2.train import ranks
from registry.errors import UserError

Tick = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Pairs:
    """Pairs (image, caption) that one rank scores, each once, in ascending order."""

    keys: Int[Tensor, " pairs"]  # image * captions + caption
    captions: int

    @classmethod
    def of(cls, images: Int[Tensor, " n"], captions: Int[Tensor, " n"], count: int) -> Pairs:
        """Return the pairs without repetitions; ``count`` is the number of all captions."""
        return cls(torch.unique(images * count + captions), count)

    def find(self, images: Int[Tensor, "*n"], captions: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
        """Return where pairs stand; they must be there."""
        return torch.searchsorted(self.keys, images * self.captions + captions)


@torch.no_grad()
def score_pairs(
    call: Callable[..., Any],
    pairs: Pairs,
    images: Store,
    captions: Store,
    *,
    size: int,
    dtype: torch.dtype,
    device: torch.device,
    together: bool,
    tick: Tick,
) -> Float[Tensor, " pairs"]:
    """Return the goal ``rerank``'s score of each pair, computed ``size`` pairs at a time.

    ``together``: ranks with fewer pairs call the network as often as the others, as ZeRO stage 3 needs.
    """
    scores = torch.empty(len(pairs.keys))
    turns = -(-len(pairs.keys) // size)
    total = max(ranks.gather(turns)) if together else turns
    tick(0, total, "pairs")
    for turn in range(total):
        keys = pairs.keys[turn * size : (turn + 1) * size]
        batch = images.batch(keys // pairs.captions, device, dtype)
        batch |= captions.batch(keys % pairs.captions, device, dtype)
        outputs = call(batch, goal="rerank")
        if len(keys):
            scores[turn * size : turn * size + len(keys)] = match(outputs).float().cpu()
        tick(turn + 1, total, "pairs")
    return scores


def match(outputs: dict[str, Tensor]) -> Float[Tensor, " pairs"]:
    """Return the logit that says that a pair matches: column 1 of two classes (released ``itm_head``)."""
    (value,) = outputs.values()
    if value.ndim != 2 or value.shape[1] != 2:
        raise UserError(
            "goal 'rerank' must give logits of 2 classes, the second of which is a match, but gives "
            f"{list(value.shape)}"
        )
    return value[:, 1]
