"""LocalTemporal: the only place where mPLUG-2's video encoder mixes time (section 3.1 of arXiv
2302.00402)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def quick_gelu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """CLIP's activation, ``x sigmoid(1.702 x)``."""
    return x * torch.sigmoid(1.702 * x)


class LocalTemporal(nn.Module):
    """Each patch sees itself one frame before and after: ``up(quick_gelu(conv_t(down(norm(x)))))``.

    ``conv_t`` is a depthwise convolution over three neighbouring frames with zeros beyond the ends; ``up``
    starts at zero, so that an image encoder becomes a video encoder without a jump. Released ``lmhra1`` and
    ``lmhra2``.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.down = nn.Linear(width, width // 2)
        self.kernel = nn.Parameter(torch.empty(3, width // 2))
        self.kernel_bias = nn.Parameter(torch.zeros(width // 2))
        self.up = nn.Linear(width // 2, width)
        # three taps a channel: torch's default bound for a depthwise convolution, 1 / sqrt(3)
        nn.init.uniform_(self.kernel, -(3**-0.5), 3**-0.5)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Float[Tensor, "b frames patches width"]) -> Float[Tensor, "b frames patches width"]:
        """The residual to add to ``x``."""
        y = self.down(self.norm(x))
        # Three shifted products: on [b, frames, patches, width] they are several times faster than a Conv3d.
        before = F.pad(y[:, :-1], (0, 0, 0, 0, 1, 0))
        after = F.pad(y[:, 1:], (0, 0, 0, 0, 0, 1))
        y = self.kernel[0] * before + self.kernel[1] * y + self.kernel[2] * after + self.kernel_bias
        return self.up(quick_gelu(y))
