"""Linear layers that are quick for the few rows of a generation step."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

FEW = range(8, 33)  # rows; measured in float32 and bfloat16 at widths 768 to 3072


def linear(
    x: Float[Tensor, "*batch inputs"],
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, " outputs"],
) -> Float[Tensor, "*batch outputs"]:
    """``x weight^T + bias``.

    A step of a search multiplies ``FEW`` rows. On a CPU torch then repacks the weights first; from the other
    side, ``(weight x^T)^T``, it reads them as they lie: 1.3 to 2 times faster (docs/benchmarks.md).
    """
    flat = x.reshape(-1, x.shape[-1])
    if len(flat) not in FEW or x.device.type != "cpu" or torch.is_grad_enabled():
        return F.linear(x, weight, bias)
    # (outputs, rows) -> (rows, outputs) -> (*batch, outputs)
    turned = torch.addmm(bias[:, None], weight, flat.T).T
    return turned.contiguous().view(*x.shape[:-1], -1)


class Linear(nn.Linear):
    """``nn.Linear`` with a bias, by `linear`."""

    def forward(self, input: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """Multiply and add."""
        return linear(input, self.weight, self.bias)
