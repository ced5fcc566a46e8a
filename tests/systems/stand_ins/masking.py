"""Operations that hide or mix parts of an input: always the same ones, so that runs can be compared."""

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


@operation(
    inputs={"image": "image B 3 H W", "saliency": "scores B N"},
    outputs={"image": "image B 3 H W", "partner": "index B -> B", "share": "weight B"},
)
def window_mix(image: Tensor, saliency: Tensor, *, ratio: list[float]) -> dict[str, Tensor]:
    """Paste columns of the next image into each image, and return its share of the saliency.

    `ratio`: the smallest and largest fraction of columns that are pasted; their mean is.
    """
    low, high = ratio
    if not 0 <= low <= high < 1:
        raise ValueError(f"ratio must be two fractions, the smaller one first, but is {ratio}")
    rows, width = len(image), image.shape[-1]
    partner = (torch.arange(rows, device=image.device) + 1) % rows
    fraction = (low + high) / 2
    kept = width - round(width * fraction)
    mixed = torch.cat([image[..., :kept], image[partner][..., kept:]], dim=-1)
    # Half of the share follows from the area, half from how the saliency is spread over both images.
    salient = saliency.exp().mean(dim=1)
    share = 0.5 * (1 - fraction) + 0.5 * salient / (salient + salient[partner])
    return {"image": mixed, "partner": partner, "share": share}
