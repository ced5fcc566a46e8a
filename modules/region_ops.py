"""Operations on regions: features from a vision tower, and the choice of one region by its box."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from modules.boxes import overlap
from modules.streams import Regions, Tokens, full_mask
from registry import operation

EDGE = 1e-4  # samples stay this far inside the image, as a fraction of it


def patch_grid(
    tokens: Tokens, has_class: bool
) -> tuple[Float[Tensor, "b width rows columns"], int]:
    """Return the patches of a square image as a map of features, and the length of its edge in patches."""
    values = tokens.values[:, 1:] if has_class else tokens.values
    edge = math.isqrt(values.shape[1])
    if edge * edge != values.shape[1]:
        raise ValueError(f"patches must form a square, but are {values.shape[1]}")
    # (b, edge * edge, width) -> (b, width, edge, edge)
    return values.transpose(1, 2).unflatten(2, (edge, edge)), edge


@operation(
    inputs={"tokens": "tokens B N width", "regions": "regions B R _"},
    outputs="regions B R width",
)
def roi_align(
    tokens: Tokens, regions: Regions, *, bins: int = 2, has_class: bool = True
) -> Regions:
    """Return the features of boxes: the mean of ``bins`` x ``bins`` samples of the patches in each box.

    RoIAlign (arXiv 1703.06870) over the patches of a square image, bilinear between their centres, without
    its maximum over samples. ``has_class``: the first token is not a patch.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, but is {bins}")
    grid, _ = patch_grid(tokens, has_class)
    boxes = regions.boxes.float()
    # The centres of equal parts of the box.
    steps = (torch.arange(bins, device=boxes.device) + 0.5) / bins
    # (b, r, bins): the samples along each axis, as fractions of the image
    x = boxes[..., :1] + (boxes[..., 2:3] - boxes[..., :1]) * steps
    y = boxes[..., 1:2] + (boxes[..., 3:] - boxes[..., 1:2]) * steps
    # (b, r, bins, bins): all pairs of a row and a column
    x = x[..., None, :].expand(-1, -1, bins, -1)
    y = y[..., None].expand(-1, -1, -1, bins)
    # (b, r, bins * bins, 2); grid_sample counts from -1 to 1 over the image
    points = torch.stack([x, y], dim=-1).clamp(EDGE, 1 - EDGE) * 2 - 1
    points = points.flatten(2, 3).to(grid.dtype)
    # Without align_corners, -1 and 1 are the edges of the image, not the centres of the outer patches.
    samples = F.grid_sample(grid, points, padding_mode="border", align_corners=False)
    # (b, width, r, bins * bins) -> (b, r, width)
    features = samples.mean(dim=-1).transpose(1, 2)
    return Regions(features, regions.boxes, regions.mask)


@operation(inputs={"tokens": "tokens B N width"}, outputs="regions B R width")
def grid_regions(tokens: Tokens, *, has_class: bool = True) -> Regions:
    """Return each patch of a square image as a region: its features, and its cell as the box."""
    grid, edge = patch_grid(tokens, has_class)
    starts = torch.arange(edge, device=grid.device) / edge
    top, left = torch.meshgrid(starts, starts, indexing="ij")
    cells = torch.stack([left, top, left + 1 / edge, top + 1 / edge], dim=-1)
    # (edge, edge, 4) -> (b, edge * edge, 4): the same cells in all images
    boxes = cells.flatten(0, 1).expand(len(grid), -1, -1)
    # (b, width, edge, edge) -> (b, edge * edge, width)
    return Regions(grid.flatten(2).transpose(1, 2), boxes)


@operation(inputs={"regions": "regions B R _", "box": "boxes B 4"}, outputs="labels B")
def region_of_box(
    regions: Regions, box: Float[Tensor, "b 4"], *, threshold: float = 0.5
) -> Int[Tensor, " b"]:
    """Return the number of the region that overlaps a box most; -1 if no IoU reaches ``threshold``."""
    count = regions.boxes.shape[1]
    gold = box.float()[:, None].expand(-1, count, -1)
    # `overlap` compares pairs: (b, r, 4) -> (b * r, 4), and back to (b, r)
    iou, _ = overlap(regions.boxes.float().flatten(0, 1), gold.flatten(0, 1))
    # Below any threshold, so that padding is never the best.
    iou = iou.view(-1, count).masked_fill(~_valid(regions), -1)
    best, index = iou.max(dim=1)
    return torch.where(best >= threshold, index, -1)


@operation(
    inputs={"logits": "logits B R", "regions": "regions B R _"}, outputs="boxes B 4"
)
def best_box(logits: Float[Tensor, "b r"], regions: Regions) -> Float[Tensor, "b 4"]:
    """Return the box of the region with the highest score; padding is never chosen."""
    scores = logits.float().masked_fill(~_valid(regions), float("-inf"))
    index = scores.argmax(dim=1)
    return regions.boxes[torch.arange(len(index), device=index.device), index]


@operation(
    inputs={"regions": "regions B R width", "index": "index A -> B"},
    outputs="regions A R width",
)
def take_regions(regions: Regions, index: Int[Tensor, " a"]) -> Regions:
    """Return row ``index[i]`` as row i: the regions of an image for each of its questions."""
    mask = None if regions.mask is None else regions.mask[index]
    return Regions(regions.features[index], regions.boxes[index], mask)


def _valid(regions: Regions) -> Tensor:
    return full_mask(Tokens(regions.features, regions.mask))
