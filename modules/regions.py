"""Image regions as tokens: UNITER's embedding of features and boxes (arXiv 1909.11740)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from modules.attention import EPS, init_weights
from modules.sizes import check_sizes
from modules.streams import Regions, Tokens

LOCATION = 7  # numbers that describe a box


def box_location(boxes: Float[Tensor, "*rows 4"]) -> Float[Tensor, "*rows 7"]:
    """Return left, top, right, bottom, width, height and area of boxes, all as fractions of the image."""
    size = boxes[..., 2:] - boxes[..., :2]
    area = size[..., :1] * size[..., 1:]
    return torch.cat([boxes, size, area], dim=-1)


class RegionEmbedding(nn.Module):
    """``norm(norm(linear(feature)) + norm(linear(location)) + type)``, then dropout.

    Released layer ``img_embeddings`` of UNITER. A region that ``masked`` marks has a learned vector in place
    of its feature, before the linear layer. ``types``: the size of the table of types. UNITER shares it with
    the words, whose type is 0, by ``tie: {NAME.kind.weight: text_embedding.kind.weight}``. A network without
    masked regions freezes ``NAME.mask``.
    """

    inputs = {"regions": "regions B R width_in", "masked?": "mask B R"}
    outputs = "tokens B R width"

    def __init__(
        self, width_in: int, width: int, types: int = 2, dropout: float = 0.1
    ) -> None:
        super().__init__()
        check_sizes(width_in=width_in, width=width, types=types)
        self.feature = nn.Linear(width_in, width)
        self.feature_norm = nn.LayerNorm(width, eps=EPS)
        self.location = nn.Linear(LOCATION, width)
        self.location_norm = nn.LayerNorm(width, eps=EPS)
        # Row 1 is added to a masked region. Row 0 is that of all others: zeros, and never read.
        self.mask = nn.Embedding(2, width_in)
        self.kind = nn.Embedding(types, width)
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.dropout = dropout
        init_weights(self)
        nn.init.zeros_(self.mask.weight[0])

    def forward(
        self,
        regions: Regions,
        masked: Bool[Tensor, "b r"] | None = None,
        *,
        segment: int = 1,
    ) -> Tokens:
        """Embed regions, all of one type: 1, or 2 for the second image of a pair."""
        if not 0 <= segment < self.kind.num_embeddings:
            raise ValueError(
                f"segment must be 0 to {self.kind.num_embeddings - 1}, but is {segment}"
            )
        features = regions.features
        if masked is not None:
            features = torch.where(masked[..., None], self.mask.weight[1], features)
        # Boxes stay in float32 until here: areas of small boxes would be rounded to few values.
        location = box_location(regions.boxes).to(features.dtype)
        # Two norms before the sum, so that neither the feature nor the location drowns the other.
        seen = self.feature_norm(self.feature(features))
        x = (
            seen
            + self.location_norm(self.location(location))
            + self.kind.weight[segment]
        )
        return Tokens(
            F.dropout(self.norm(x), self.dropout, self.training), regions.mask
        )
