"""Mixup and cutmix: a batch mixed with itself, and its targets with the same weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from mplug2.data.arguments import ArgumentError


@dataclass(frozen=True)
class BatchMixing:
    """Mixes each row of a batch with the row at the same distance from its other end.

    ``mixup`` (arXiv 1710.09412) and ``cutmix`` (arXiv 1905.04899) are the parameters of the Beta distribution
    of the weight lambda; 0 means never. With both, each batch draws one of them.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("mixup", self.mixup), ("cutmix", self.cutmix)):
            if not 0 <= value < math.inf:
                raise ArgumentError(
                    name,
                    f"{name} must be 0 (never) or a positive number, but is {value}",
                )

    @property
    def active(self) -> bool:
        """Whether batches are mixed at all."""
        return self.mixup > 0 or self.cutmix > 0

    def __call__(
        self,
        media: Float[Tensor, "b *c h w"],
        targets: Float[Tensor, "b classes"],
        rng: np.random.Generator,
    ) -> tuple[Float[Tensor, "b *c h w"], Float[Tensor, "b classes"]]:
        """Return mixed media and targets: ``lambda x + (1 - lambda) x'`` of a row x and its partner x'."""
        # No number is drawn where there is no choice.
        cuts = self.cutmix > 0 and (self.mixup == 0 or rng.random() < 0.5)
        alpha = self.cutmix if cuts else self.mixup
        weight = float(rng.beta(alpha, alpha))
        if cuts:
            height, width = media.shape[-2:]
            center = (int(rng.integers(height)), int(rng.integers(width)))
            media, weight = cut_and_paste(media, weight, center)
        else:
            # (batch, ...): the partner of a row is the one at the same distance from the end
            media = weight * media + (1 - weight) * media.flip(0)
        return media, weight * targets + (1 - weight) * targets.flip(0)


def cut_and_paste(
    media: Float[Tensor, "b *c h w"], weight: float, center: tuple[int, int]
) -> tuple[Float[Tensor, "b *c h w"], float]:
    """Return media with a box from the reversed batch, and the fraction of the area that is not pasted.

    The box has ``1 - weight`` of the area, the proportions of the frame, and is cut off at its edges: so the
    fraction may be more than ``weight``.
    """
    height, width = media.shape[-2:]
    side = math.sqrt(1 - weight)
    half_height, half_width = int(height * side) // 2, int(width * side) // 2
    top, bottom = max(center[0] - half_height, 0), min(center[0] + half_height, height)
    left, right = max(center[1] - half_width, 0), min(center[1] + half_width, width)
    mixed = media.clone()
    mixed[..., top:bottom, left:right] = media.flip(0)[..., top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)
