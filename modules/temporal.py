"""LocalTemporal: the only place where mPLUG-2's video encoder mixes time (section 3.1 of arXiv
2302.00402)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class _QuickGELU(torch.autograd.Function):
    """Keeps its input alone for the backward pass; written out, the sigmoid would be kept, too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(1.702 * x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        # d/dx x s(ax) = s + a x s (1 - s), with s = s(ax)
        s = torch.sigmoid(1.702 * x)
        return gradient * (s * (1 + 1.702 * x * (1 - s)))


def quick_gelu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """CLIP's activation, ``x sigmoid(1.702 x)``."""
    return _QuickGELU.apply(x)


class QuickGELU(nn.Module):
    """`quick_gelu` as the activation of a timm block."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Apply it to every element."""
        return quick_gelu(x)


class LocalTemporal(nn.Module):
    """Each patch sees itself one frame before and after: ``up(quick_gelu(conv_t(down(norm(x)))))``.

    ``conv_t`` is a depthwise convolution over three neighbouring frames with zeros beyond the ends; ``up``
    starts at zero, so that an image encoder becomes a video encoder without a jump. Released ``lmhra1`` and
    ``lmhra2``.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-5)
        # Half the width: a bottleneck keeps the added cost small.
        self.down = nn.Linear(width, width // 2)
        self.kernel = nn.Parameter(torch.empty(3, width // 2))
        self.kernel_bias = nn.Parameter(torch.zeros(width // 2))
        self.up = nn.Linear(width // 2, width)
        # three taps a channel: torch's default bound for a depthwise convolution, 1 / sqrt(3)
        nn.init.uniform_(self.kernel, -(3**-0.5), 3**-0.5)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(
        self, x: Float[Tensor, "b frames patches width"]
    ) -> Float[Tensor, "b frames patches width"]:
        """The residual to add to ``x``."""
        y = self.down(self.norm(x))
        # Three shifted products: on [b, frames, patches, width] they are several times faster than a Conv3d.
        # All three factors are views of one padded tensor, which alone is kept for the backward pass.
        y = F.pad(y, (0, 0, 0, 0, 1, 1))
        y = (
            self.kernel[0] * y[:, :-2]
            + self.kernel[1] * y[:, 1:-1]
            + self.kernel[2] * y[:, 2:]
            + self.kernel_bias
        )
        return self.up(quick_gelu(y))
