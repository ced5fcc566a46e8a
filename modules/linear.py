"""Linear layers that are quick for the few rows of a generation step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

FEW = range(8, 33)  # rows; measured in float32 and bfloat16 at widths 768 to 3072
FEW_PACKED = range(3, 65)  # rows; measured in float32 at widths 768 to 30522
Packs = dict[Tensor, Tensor]  # weights, each with its copy in the CPU's own order

_packs: ContextVar[Packs | None] = ContextVar("packs", default=None)


@contextmanager
def packing(packs: Packs | None) -> Iterator[None]:
    """Let `linear` multiply few rows by the copies in ``packs``, and add to these what it lacks; nothing for
    None.

    For many steps over the same float32 weights on a CPU: a copy costs as much time as five steps save, and
    as much memory as its weight.
    """
    # A context variable, so that threads which search at the same time keep their copies apart.
    token = _packs.set(packs)
    try:
        yield
    finally:
        _packs.reset(token)


def linear(
    x: Float[Tensor, "*batch inputs"],
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, " outputs"],
) -> Float[Tensor, "*batch outputs"]:
    """``x weight^T + bias``.

    A step of a search multiplies ``FEW`` rows. On a CPU torch then repacks the weights first; from the other
    side, ``(weight x^T)^T``, it reads them as they lie: 1.3 to 2 times faster (docs/benchmarks.md). From
    weights in the CPU's own order (`packing`) it is 1.4 to 1.8 times faster again.
    """
    flat = x.reshape(-1, x.shape[-1])
    # An exported program runs on any number of rows: it must not remember that of its example.
    is_free = torch.is_grad_enabled() or torch.compiler.is_exporting()
    if x.device.type != "cpu" or is_free:
        return F.linear(x, weight, bias)
    packs = None if torch.compiler.is_compiling() else _packs.get()
    if packs is not None and len(flat) in FEW_PACKED and _packable(flat, weight):
        if weight not in packs:
            packs[weight] = torch.ops.mkldnn._reorder_linear_weight(weight, len(flat))
        # What torch's own compiler calls; the arguments after the bias mean that nothing else is fused.
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            flat, packs[weight], bias, "none", [], ""
        )
        return product.view(*x.shape[:-1], -1)
    if len(flat) not in FEW:
        return F.linear(x, weight, bias)
    # (outputs, rows) -> (rows, outputs) -> (*batch, outputs)
    turned = torch.addmm(bias[:, None], weight, flat.T).T
    return turned.contiguous().view(*x.shape[:-1], -1)


def _packable(x: Tensor, weight: Tensor) -> bool:
    """True where torch was built with oneDNN and both are float32, not cast on the way."""
    is_float32 = x.dtype == weight.dtype == torch.float32
    if not is_float32 or torch.is_autocast_enabled("cpu"):
        return False
    # A transposed tie is another view at each access, so a copy of it would never be read again.
    return weight._base is None and torch.backends.mkldnn.is_available()


class Linear(nn.Linear):
    """``nn.Linear`` with a bias, by `linear`."""

    def forward(
        self, input: Float[Tensor, "*batch inputs"]
    ) -> Float[Tensor, "*batch outputs"]:
        """Multiply and add."""
        return linear(input, self.weight, self.bias)
