"""Operations that hide parts of an input: always the same ones, so that runs can be compared."""

from __future__ import annotations

import torch
from torch import Tensor

from modules.streams import Regions, Text
from registry import operation

PERIOD = 3  # every third word or region is masked
NO_LABEL = -100


@operation(
    inputs={"text": "text B L"},
    outputs={"text": "text B L", "labels": "labels B L"},
)
def word_masking(text: Text, *, mask: int = 4) -> dict[str, Text | Tensor]:
    """Replace every third token after the first by the id `mask`; labels are the ids that were there."""
    positions = torch.arange(text.ids.shape[1], device=text.ids.device)
    chosen = (positions % PERIOD == 1) & text.mask
    masked = text._replace(ids=text.ids.masked_fill(chosen, mask))
    return {"text": masked, "labels": text.ids.masked_fill(~chosen, NO_LABEL)}


@operation(inputs={"regions": "regions B R width"}, outputs="mask B R")
def region_masking(regions: Regions) -> Tensor:
    """Mark every third region."""
    rows, num_regions = regions.features.shape[:2]
    positions = torch.arange(num_regions, device=regions.features.device)
    return (positions % PERIOD == 1).expand(rows, -1)
