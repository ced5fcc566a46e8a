"""Operations without weights that join, cut, repeat, exchange and sum streams."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from modules.distributed import all_gather_rows, shortest_and_longest
from modules.streams import Regions, Text, Tokens, full_mask, join_masks
from registry import operation


@operation(inputs={"logits": "logits B classes"}, outputs="logits B classes")
def identity(logits: Float[Tensor, "b classes"]) -> Float[Tensor, "b classes"]:
    """Return logits unchanged: with `averaged: identity(ema(logits))` a goal may give the averaged stream."""
    return logits


@operation(inputs={"*parts": "tokens B _ width"}, outputs="tokens B N width")
def concat(*parts: Tokens) -> Tokens:
    """Concatenate token streams and their masks."""
    values = [part.values for part in parts]
    return Tokens(torch.cat(values, dim=1), join_masks(*parts))


@operation(inputs={"*parts": "vector B _"}, outputs="vector B W")
def concat_vectors(*parts: Float[Tensor, "b _"]) -> Float[Tensor, "b width"]:
    """Concatenate the vectors of each row: their widths add up."""
    return torch.cat(parts, dim=-1)


@operation(
    inputs={
        "tokens": "tokens B N width",
        "**parts": "tokens B length _ | text B length | regions B length _",
    },
    outputs={"**parts": "tokens B length width"},
)
def split(tokens: Tokens, **parts: Tokens | Text | Regions) -> dict[str, Tokens]:
    """Cut tokens into named parts, each as long as the stream of its name: the inverse of `concat`.

    The parts come in the order of the call. ValueError if their lengths do not add up to that of ``tokens``.
    """
    lengths = {}
    for name, part in parts.items():
        lengths[name] = part[0].shape[1]
    total = sum(lengths.values())
    if total != tokens.values.shape[1]:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(
            f"the lengths of the parts ({listed}) must add up to {tokens.values.shape[1]}, but do to {total}"
        )
    cut: dict[str, Tokens] = {}
    start = 0
    for name, length in lengths.items():
        columns = slice(start, start + length)
        mask = None if tokens.mask is None else tokens.mask[:, columns]
        cut[name] = Tokens(tokens.values[:, columns], mask)
        start += length
    return cut


@operation(
    inputs={"tokens": "tokens B N width", "index": "index A -> B"},
    outputs="tokens A N width",
)
def take(tokens: Tokens, index: Int[Tensor, " a"]) -> Tokens:
    """Row ``index[i]`` of ``tokens`` as row i: repeat a memory for each of its questions or answers."""
    mask = None if tokens.mask is None else tokens.mask[index]
    return Tokens(tokens.values[index], mask)


@operation(
    inputs={"tokens": "tokens B N width", "index": "index A -> B"},
    outputs="tokens A N width",
)
def gather_rows(tokens: Tokens, index: Int[Tensor, " a"]) -> Tokens:
    """Row ``index[i]`` of the tokens of all ranks as row i, with gradients back to the rank it came from.

    The rows of all ranks are in the order in which the loader deals samples. Without gradients wanted, only
    those of this rank are there.
    """
    values, mask = tokens.values, tokens.mask
    # All ranks learn both, so all of them pad or none does.
    least, longest = shortest_and_longest(values.shape[1], values.device)
    # Texts are padded to the longest of their rank; gathering needs one length on all ranks.
    if least < longest:
        padding = longest - values.shape[1]
        mask = F.pad(full_mask(tokens), (0, padding))
        values = F.pad(values, (0, 0, 0, padding))
    rows = all_gather_rows(values)[index]
    return Tokens(rows, None if mask is None else all_gather_rows(mask)[index])


@operation(inputs={"*losses": "scalar"}, outputs="scalar")
def weighted_sum(
    *losses: Float[Tensor, ""], weights: list[float] | None = None
) -> Float[Tensor, ""]:
    """``sum_i weights[i] * losses[i]``; without weights the sum of the losses."""
    if weights is None:
        return torch.stack(list(losses)).sum()
    if len(weights) != len(losses):
        raise ValueError(
            f"weights must be one per loss ({len(losses)}), but are {len(weights)}"
        )
    weighted = [weight * loss for weight, loss in zip(weights, losses, strict=True)]
    return torch.stack(weighted).sum()
