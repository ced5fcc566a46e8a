"""Low-rank adapters of linear layers: LoRA (arXiv 2106.09685) and DoRA (arXiv 2402.09353).

A layer becomes one of a subclass, with the same names of weight and bias and with few more
parameters. Nothing around it changes, so every module with linear layers can be adapted.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

PARAMETERS = ("lora_down", "lora_up", "lora_magnitude")
CHECKSUM = (
    "lora_base"  # the buffer that names the weight which an adapter was trained on
)


class AdaptedLinear(nn.Linear):
    """A linear layer whose output gets ``scale`` * up(down(x)), and in DoRA a trained length of each row.

    It is made of a layer by `adapt_linear` alone. The rest of the class is that of the layer.
    """

    lora_down: nn.Parameter  # [rank, inputs]
    lora_up: nn.Parameter  # [outputs, rank], zero at first
    lora_magnitude: nn.Parameter | None  # [outputs]: in DoRA the length of each row
    lora_base: Tensor
    lora_scale: float

    def forward(
        self, input: Float[Tensor, "*batch inputs"]
    ) -> Float[Tensor, "*batch outputs"]:
        """Return the output of the layer with its adapter.

        DoRA takes the length of the changed rows as a constant in the gradient (section 4.3 of the paper).
        """
        output = super().forward(input)
        # Two small products: the change of the weight, [outputs, inputs], is never built.
        change = (
            F.linear(F.linear(input, self.lora_down), self.lora_up) * self.lora_scale
        )
        if self.lora_magnitude is None:
            return output + change
        lengths = row_lengths(self.weight + self.lora_change()).detach()
        factor = self.lora_magnitude / lengths
        if self.bias is None:
            return (output + change) * factor
        # The factor is one of the weight: the bias is taken out before it, and added after it.
        return (output - self.bias + change) * factor + self.bias

    def lora_change(self) -> Float[Tensor, "outputs inputs"]:
        """Return what the adapter adds to the weight, before the lengths of DoRA."""
        return (self.lora_up @ self.lora_down) * self.lora_scale

    def merged_weight(self) -> Float[Tensor, "outputs inputs"]:
        """Return the weight of a plain layer with the same output, computed in float32."""
        change = (self.lora_up.float() @ self.lora_down.float()) * self.lora_scale
        weight = self.weight.float() + change
        if self.lora_magnitude is not None:
            # (outputs) -> (outputs, 1): one factor for each row.
            weight = (
                weight * (self.lora_magnitude.float() / row_lengths(weight))[:, None]
            )
        return weight


def row_lengths(weight: Float[Tensor, "outputs inputs"]) -> Float[Tensor, " outputs"]:
    """Return the Euclidean length of each row."""
    return torch.linalg.vector_norm(weight, dim=1)


# Classes of adapted layers, by the class of the layer.
_classes: dict[type[nn.Linear], type[AdaptedLinear]] = {}


def _adapted_class(base: type[nn.Linear]) -> type[AdaptedLinear]:
    """Return the class of adapted layers of a class: its own `forward` runs below that of `AdaptedLinear`."""
    if base not in _classes:
        bases = (AdaptedLinear,) if base is nn.Linear else (AdaptedLinear, base)
        members = {"__module__": __name__, "lora_layer": base}
        _classes[base] = type(f"Adapted{base.__name__}", bases, members)
    return _classes[base]


def adapt_linear(
    layer: nn.Linear, rank: int, alpha: float, *, magnitude: bool = False
) -> AdaptedLinear:
    """Turn a layer into an adapted one, in place, and return it; its output does not change yet.

    ``alpha`` / ``rank`` scales the change. ``magnitude``: DoRA. ValueError for a layer that has an adapter,
    and for a rank above the sizes of its weight.
    """
    if isinstance(layer, AdaptedLinear):
        raise ValueError("the layer has an adapter already")
    outputs, inputs = layer.weight.shape
    if not 1 <= rank <= min(outputs, inputs):
        raise ValueError(
            f"rank must be from 1 to {min(outputs, inputs)}, the smaller size of the weight"
        )
    # In place: the module keeps its name, its parameters and the references that others hold.
    layer.__class__ = _adapted_class(type(layer))
    assert isinstance(layer, AdaptedLinear)
    weight = layer.weight.detach()
    layer.lora_scale = alpha / rank
    layer.lora_down = nn.Parameter(weight.new_empty(rank, inputs))
    # As `nn.Linear` starts; `lora_up` is zero, so that the output does not change.
    nn.init.kaiming_uniform_(layer.lora_down, a=math.sqrt(5))
    layer.lora_up = nn.Parameter(weight.new_zeros(outputs, rank))
    # At first the lengths are those of the weight, so that DoRA does not change the output either.
    lengths = nn.Parameter(row_lengths(weight)) if magnitude else None
    layer.register_parameter("lora_magnitude", lengths)
    # Adapters are saved without the weight: loading them over another one is then an error.
    layer.register_buffer(CHECKSUM, checksum(weight))
    return layer


def merge_linear(layer: nn.Linear) -> None:
    """Turn an adapted layer into the plain one with the same output, in place; else TypeError."""
    if not isinstance(layer, AdaptedLinear):
        raise TypeError("only a layer with an adapter can be merged")
    merged = layer.merged_weight().to(layer.weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(merged)
    # They are found by name, since a registered None is deleted like a parameter.
    for name in PARAMETERS:
        del layer._parameters[name]
    del layer._buffers[CHECKSUM]
    plain: Any = vars(type(layer))["lora_layer"]
    layer.__class__ = plain


def checksum(weight: Tensor) -> Tensor:
    """Return the CRC-32 of a weight's float32 bytes as an int64 scalar; 0 on the meta device."""
    if weight.device.type == "meta":
        return torch.zeros((), dtype=torch.int64, device="meta")
    content = weight.detach().to("cpu", torch.float32).contiguous().numpy().tobytes()
    return torch.tensor(zlib.crc32(content), dtype=torch.int64, device=weight.device)
