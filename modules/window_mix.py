"""Mixing of images within a batch: the least salient window of each is replaced by one of its partner."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from modules.negatives import uniform


class WindowMix(nn.Module):
    """Replace the least salient square of each image by the most salient one of another image (TiMix).

    The partner of row i is row ``B - 1 - i``. ``saliency`` has a value for each patch of a grid of S x S; a
    square has r x r patches, one r for a batch, drawn from ``int(S * ratio[0])`` to ``int(S *
    ratio[1])``, at least 1. ``share`` is the area that an image keeps, ``1 - r^2 / S^2``, and ``pasted``
    marks the other patches. `mix_rows` mixes targets with the same shares: one-hot classes, or the
    predictions of a contrastive loss.

    Draws follow from ``seed`` and the number of steps, which is a buffer: all ranks draw the same, and a
    resumed run draws the same again. Each forward pass in training is a step; evaluation draws as at step 0.
    """

    inputs = {"image": "image B 3 H W", "saliency": "scores B P"}
    outputs = {
        "image": "image B 3 H W",
        "partner": "index B -> B",
        "share": "weight B",
        "pasted": "mask B P",
    }

    weightless = True  # a network and its average must mix the same windows
    # Weights of another run start at the first draw again.
    run_state_buffers = ("step",)
    step: Int[Tensor, " 1"]

    def __init__(self, ratio: list[float], seed: int = 0) -> None:
        super().__init__()
        if len(ratio) != 2 or not 0 < ratio[0] <= ratio[1] < 1:
            raise ValueError(
                f"ratio must be two numbers above 0 and below 1, the smaller one first, but is {ratio}"
            )
        self.ratio, self.seed = tuple(ratio), seed
        self.register_buffer("step", torch.zeros(1, dtype=torch.long))

    def draw(self, side: int) -> int:
        """Return the side of the window in patches, for a grid of ``side`` x ``side``."""
        least, most = (max(1, int(side * ratio)) for ratio in self.ratio)
        # On the meta device no number can be drawn; any size of window has the same shapes.
        if self.step.is_meta:
            return least
        step = self.step if self.training else torch.zeros_like(self.step)
        number = uniform(self.seed, 0, step, torch.zeros_like(step))
        return least + int(number * (most - least + 1))

    def forward(
        self, image: Float[Tensor, "b 3 h w"], saliency: Float[Tensor, "b p"]
    ) -> dict[str, Tensor]:
        """Mix; each forward pass in training is a step."""
        side = math.isqrt(saliency.shape[1])
        is_square = side * side == saliency.shape[1]
        if not is_square or image.shape[2] % side or image.shape[3] % side:
            raise ValueError(
                f"saliency must have one value for each patch of a square grid that divides the image of "
                f"{list(image.shape[2:])} pixels, but has {saliency.shape[1]}"
            )
        window = self.draw(side)
        if self.training and torch.is_grad_enabled():
            self.step.add_(1)
        # Backwards: in a batch of odd size the middle row is its own partner.
        partner = torch.arange(len(image), device=image.device).flip(0)
        # (b, p) -> (b, 1, side, side) -> (b, windows): the means of all windows, row by row
        grid = saliency.detach().float().unflatten(1, (1, side, side))
        means = F.avg_pool2d(grid, window, stride=1).flatten(1)
        target = _corners(means.argmin(dim=1), side - window + 1)
        source = _corners(means.argmax(dim=1)[partner], side - window + 1)
        # The size of a patch in pixels.
        height, width = (length // side for length in image.shape[2:])
        batch = torch.arange(len(image), device=image.device)[:, None, None]
        to_rows, to_columns = _square(target, window, height, width)
        from_rows, from_columns = _square(source, window, height, width)
        # Indices in three places broadcast to (b, rows, columns), and the channels come last on both sides.
        mixed = image.clone()
        squares = image[partner[batch], :, from_rows, from_columns]
        mixed[batch, :, to_rows, to_columns] = squares
        pasted = torch.zeros_like(grid[:, 0], dtype=torch.bool)
        rows, columns = _square(target, window, 1, 1)
        pasted[batch, rows, columns] = True
        share = torch.full((len(image),), 1 - window**2 / side**2, device=image.device)
        return {
            "image": mixed,
            "partner": partner,
            "share": share,
            "pasted": pasted.flatten(1),
        }


def _corners(number: Int[Tensor, " b"], per_row: int) -> Int[Tensor, "b 2"]:
    """Return top and left, in patches, of windows that are numbered row by row."""
    return torch.stack([number // per_row, number % per_row], dim=1)


def _square(
    corner: Int[Tensor, "b 2"], window: int, height: int, width: int
) -> tuple[Int[Tensor, "b rows 1"], Int[Tensor, "b 1 columns"]]:
    """Return the rows and columns of windows of patches, each ``height`` x ``width`` pixels."""
    down = torch.arange(window * height, device=corner.device)
    right = torch.arange(window * width, device=corner.device)
    rows = corner[:, :1] * height + down
    columns = corner[:, 1:] * width + right
    return rows[:, :, None], columns[:, None, :]
