"""The contrastive loss between two kinds of features, with a learnable temperature."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from modules.distributed import all_gather_rows, average_gradient, own_rows
from modules.sizes import check_fraction

# Bounds of the temperature: ALBEF's (arXiv 2107.07651), and CLIP's, whose scale is at most 100.
BOUNDS = {"albef": (0.001, 0.5), "clip": (0.01, math.inf), "none": (0.0, math.inf)}
Clamp = Literal["albef", "clip", "none"]
Learn = Literal["temperature", "log_scale"]


class _Hold(torch.autograd.Function):
    """``clamp`` whose gradient beyond the bounds still leads back: released code clamps the weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, least: float, most: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bounds = least, most
        return x.clamp(least, most)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        least, most = ctx.bounds
        # a step goes against the gradient
        outward = ((x <= least) & (grad > 0)) | ((x >= most) & (grad < 0))
        return grad.masked_fill(outward, 0), None, None


class Temperature(nn.Module):
    """A learned temperature within bounds: the parameter ``temperature``, or ``log_scale``, log(1 / tau)."""

    def __init__(self, temperature: float, clamp: Clamp, learn: Learn) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, but is {temperature}")
        least, most = BOUNDS[clamp]
        if not least <= temperature <= most:
            bounds = f"at least {least}" if math.isinf(most) else f"{least} to {most}"
            raise ValueError(
                f"temperature must be {bounds} (clamp: none for any other), but is {temperature}"
            )
        self.learn, self.clamp = learn, clamp
        start = float(temperature) if learn == "temperature" else -math.log(temperature)
        self.register_parameter(learn, nn.Parameter(torch.full((1,), start)))

    def bounded(self) -> Float[Tensor, " 1"]:
        """Return the temperature, in float32."""
        temperature = self.get_parameter(self.learn).float()
        if self.learn == "log_scale":
            temperature = torch.exp(-temperature)
        if self.clamp != "none":
            temperature = average_gradient(_Hold.apply(temperature, *BOUNDS[self.clamp]))
        return temperature


def shares(positive: Bool[Tensor, "b s"]) -> Float[Tensor, "b s"]:
    """Return targets that divide 1 equally between the positives of a row."""
    return positive / positive.sum(dim=1, keepdim=True)


def mix_soft_targets(
    target: Float[Tensor, "b s"], teacher: Float[Tensor, "b s"], alpha: float
) -> Float[Tensor, "b s"]:
    """``alpha * softmax(teacher) + (1 - alpha) * target``."""
    return alpha * F.softmax(teacher, dim=1) + (1 - alpha) * target if alpha else target


class Contrastive(Temperature):
    """``(CE(v T' / tau, target) + CE(t V' / tau, target)) / 2``: a row's own partner among all, both ways.

    V, T: ``all_vision``, ``all_text``, whose first rows are the batch of all ranks (from a `feature_queue`);
    without them the features of all ranks, with gradients (CLIP, arXiv 2103.00020). Rows of one ``group`` are
    partners of each other and share the target; without groups every row has one partner. ``alpha`` mixes in
    what the momentum features find: ALBEF's soft targets (arXiv 2107.07651, section 3.4). ``clamp='albef'``
    keeps the temperature in [0.001, 0.5], ``'clip'`` at 0.01 or more; ``'none'`` is released mPLUG's
    fine-tuning. Released ``temp``.
    ``learn='log_scale'`` learns ``log(1 / tau)`` instead of tau (CLIP, VLMo: released ``logit_scale``).
    """

    inputs = {
        "vision": "vector B width",
        "text": "vector B width",
        "group?": "index B",
        "all_vision?": "vector S width",
        "all_text?": "vector S width",
        "all_group?": "index S",
    }
    outputs = {"loss": "scalar", "vision_to_text": "scores B S", "text_to_vision": "scores B S"}

    def __init__(
        self,
        temperature: float = 0.07,
        clamp: Literal["albef", "clip", "none"] = "albef",
        learn: Literal["temperature", "log_scale"] = "temperature",
    ) -> None:
        super().__init__(temperature, clamp, learn)

    def forward(
        self,
        vision: Float[Tensor, "b width"],
        text: Float[Tensor, "b width"],
        group: Int[Tensor, " b"] | None = None,
        all_vision: Float[Tensor, "s width"] | None = None,
        all_text: Float[Tensor, "s width"] | None = None,
        all_group: Int[Tensor, " s"] | None = None,
        *,
        alpha: float = 0.0,
    ) -> dict[str, Tensor]:
        """The loss, and the similarities over the temperature, in float32."""
        check_fraction(alpha=alpha)
        if (all_vision is None) != (all_text is None):
            raise ValueError("all_vision and all_text must be given together")
        if all_vision is None or all_text is None:
            if alpha:
                raise ValueError(
                    f"alpha must be 0 without momentum features (all_vision, all_text), but is {alpha}"
                )
            all_vision, all_text = all_gather_rows(vision), all_gather_rows(text)
            all_group = None if group is None else all_gather_rows(group)
        if (group is None) != (all_group is None):
            raise ValueError("group and all_group must be given together")
        temperature = self.bounded()
        own = own_rows(len(vision), vision.device)
        # products of unit vectors, divided by a small number: half precision would lose their differences
        vision, text, all_vision, all_text = (x.float() for x in (vision, text, all_vision, all_text))
        vision_to_text, text_to_vision = vision @ all_text.T / temperature, text @ all_vision.T / temperature
        if group is None or all_group is None:
            positive = own[:, None] == torch.arange(len(all_text), device=own.device)
        else:
            positive = group[:, None] == all_group
        losses = []
        for similarity, teachers, others in (
            (vision_to_text, all_vision, all_text),
            (text_to_vision, all_text, all_vision),
        ):
            with torch.no_grad():
                target = mix_soft_targets(shares(positive), teachers[own] @ others.T / temperature, alpha)
            losses.append(-(target * F.log_softmax(similarity, dim=1)).sum(dim=1).mean())
        loss = torch.stack(losses).mean()
        return {"loss": loss, "vision_to_text": vision_to_text, "text_to_vision": text_to_vision}
