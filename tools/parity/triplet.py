"""UNITER's triplets: the regions of both images of a sample are recorded as one row, the left ones first."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from modules.streams import Regions


def side(
    features: Float[Tensor, "b r width"],
    boxes: Float[Tensor, "b r 4"],
    types: Int[Tensor, "b r"],
    segment: int,
) -> Regions:
    """Return the regions of one image of each sample: those of type ``segment``."""
    chosen = [row == segment for row in types]
    pairs = list(zip(range(len(types)), chosen, strict=True))
    kept = pad_sequence([features[row, mask] for row, mask in pairs], batch_first=True)
    corners = pad_sequence([boxes[row, mask] for row, mask in pairs], batch_first=True)
    counts = (types == segment).sum(dim=1)
    valid = torch.arange(kept.shape[1]) < counts[:, None]
    return Regions(kept, corners, valid)


def as_recorded(
    values: Float[Tensor, "b n width"], types: Int[Tensor, "b r"], num_words: int
) -> Float[Tensor, "b l width"]:
    """Return the values of words, left and right regions with the regions in the recorded row.

    Ours are padded image by image: ``n = num_words + left + right``. Positions of padding hold any value.
    """
    left, right = types == 1, types == 2
    # (b, r): the number of a region among those of its image.
    number = torch.where(left, left.cumsum(dim=1), right.cumsum(dim=1)) - 1
    width = int(left.sum(dim=1).max())
    index = num_words + number.clamp(min=0) + width * right
    regions = values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))
    return torch.cat([values[:, :num_words], regions], dim=1)
