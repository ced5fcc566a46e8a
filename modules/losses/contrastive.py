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
        # Half precision would round the small steps of a single number away.
        temperature = self.get_parameter(self.learn).float()
        if self.learn == "log_scale":
            temperature = torch.exp(-temperature)
        if self.clamp != "none":
            # Averaged over ranks first: all must see the same sign, or one would hold while others step.
            temperature = average_gradient(
                _Hold.apply(temperature, *BOUNDS[self.clamp])
            )
        return temperature


def shares(positive: Bool[Tensor, "b s"]) -> Float[Tensor, "b s"]:
    """Return targets that divide 1 equally between the positives of a row."""
    return positive / positive.sum(dim=1, keepdim=True)


def mix_soft_targets(
    target: Float[Tensor, "b s"], teacher: Float[Tensor, "b s"], alpha: float
) -> Float[Tensor, "b s"]:
    """``alpha * softmax(teacher) + (1 - alpha) * target``."""
    if not alpha:
        return target
    return alpha * F.softmax(teacher, dim=1) + (1 - alpha) * target


class Contrastive(Temperature):
    """``(CE(v T' / tau, target) + CE(t V' / tau, target)) / 2``: a row's own partner among all, both ways.

    V, T: ``all_vision``, ``all_text``, whose first rows are the batch of all ranks (from a `feature_queue`);
    without them the features of all ranks, with gradients (CLIP, arXiv 2103.00020). Rows of one ``group`` are
    partners of each other and share the target; without groups every row has one partner. ``alpha`` mixes in
    what the momentum features find: ALBEF's soft targets (arXiv 2107.07651, section 3.4). Those of the batch
    are the first rows of ``all_vision`` and ``all_text``, or ``teacher_vision`` and ``teacher_text`` (TiMix,
    which has no queue). ``target`` replaces all of this: for each row a distribution over S, for both ways.
    ``clamp='albef'`` keeps the temperature in [0.001, 0.5], ``'clip'`` at 0.01 or more; ``'none'`` is
    released mPLUG's fine-tuning. Released ``temp``.
    ``learn='log_scale'`` learns ``log(1 / tau)`` instead of tau (CLIP, VLMo: released ``logit_scale``).
    """

    inputs = {
        "vision": "vector B width",
        "text": "vector B width",
        "group?": "index B",
        "all_vision?": "vector S width",
        "all_text?": "vector S width",
        "all_group?": "index S",
        "teacher_vision?": "vector B width",
        "teacher_text?": "vector B width",
        "target?": "scores B S",
    }
    outputs = {
        "loss": "scalar",
        "vision_to_text": "scores B S",
        "text_to_vision": "scores B S",
    }

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
        teacher_vision: Float[Tensor, "b width"] | None = None,
        teacher_text: Float[Tensor, "b width"] | None = None,
        target: Float[Tensor, "b s"] | None = None,
        *,
        alpha: float = 0.0,
    ) -> dict[str, Tensor]:
        """The loss, and the similarities over the temperature, in float32."""
        check_fraction(alpha=alpha)
        _check_together(all_vision=all_vision, all_text=all_text)
        _check_together(teacher_vision=teacher_vision, teacher_text=teacher_text)
        # The numbers of this rank's rows in the batch of all ranks.
        own = own_rows(len(vision), vision.device)
        teachers = _teachers(own, all_vision, all_text, teacher_vision, teacher_text)
        if all_vision is None or all_text is None:
            all_vision, all_text = all_gather_rows(vision), all_gather_rows(text)
            all_group = None if group is None else all_gather_rows(group)
        temperature = self.bounded()
        # products of unit vectors, divided by a small number: half precision would lose their differences
        vision_to_text = vision.float() @ all_text.float().T / temperature
        text_to_vision = text.float() @ all_vision.float().T / temperature
        # Targets are constants: the momentum features, and the temperature in them, get no gradient.
        with torch.no_grad():
            if target is None:
                positive = _positives(own, group, all_group, len(all_text))
                targets = _soft_targets(shares(positive), teachers, temperature, alpha)
            elif alpha:
                raise ValueError(f"alpha must be 0 with a target, but is {alpha}")
            else:
                # A target from outside is the same for both ways.
                targets = (target.float(), target.float())
        similarities = {
            "vision_to_text": vision_to_text,
            "text_to_vision": text_to_vision,
        }
        losses = []
        for similarity, targets_of_way in zip(
            similarities.values(), targets, strict=True
        ):
            log_probs = F.log_softmax(similarity, dim=1)
            losses.append(-(targets_of_way * log_probs).sum(dim=1).mean())
        return {"loss": torch.stack(losses).mean(), **similarities}


def _check_together(**values: Tensor | None) -> None:
    """Raise ValueError if some of the inputs are there and others are not."""
    missing = [name for name, value in values.items() if value is None]
    if 0 < len(missing) < len(values):
        raise ValueError(f"{' and '.join(values)} must be given together")


def _positives(
    own: Int[Tensor, " b"],
    group: Int[Tensor, " b"] | None,
    all_group: Int[Tensor, " s"] | None,
    count: int,
) -> Bool[Tensor, "b s"]:
    """Return which of ``count`` rows are partners of this rank's rows: those of their group, or their own."""
    # A queue without groups cannot be compared with a batch that has some.
    if (group is None) != (all_group is None):
        raise ValueError("group and all_group must be given together")
    if group is None or all_group is None:
        return own[:, None] == torch.arange(count, device=own.device)
    return group[:, None] == all_group


def _teachers(
    own: Int[Tensor, " b"],
    all_vision: Float[Tensor, "s width"] | None,
    all_text: Float[Tensor, "s width"] | None,
    vision: Float[Tensor, "b width"] | None,
    text: Float[Tensor, "b width"] | None,
) -> tuple[tuple[Tensor, Tensor], ...] | None:
    """Return, for both ways, the momentum features of this rank's rows and those they are compared with.

    None without momentum features.
    """
    if vision is not None and text is not None:
        if all_vision is None or all_text is None:
            all_vision, all_text = all_gather_rows(vision), all_gather_rows(text)
    elif all_vision is not None and all_text is not None:
        vision, text = all_vision[own], all_text[own]
    else:
        return None
    return (vision, all_text), (text, all_vision)


def _soft_targets(
    target: Float[Tensor, "b s"],
    teachers: tuple[tuple[Tensor, Tensor], ...] | None,
    temperature: Float[Tensor, " 1"],
    alpha: float,
) -> tuple[Float[Tensor, "b s"], ...]:
    """Return the targets of both ways, softened by the similarities of momentum features."""
    if not alpha:
        return target, target
    if teachers is None:
        raise ValueError(
            "alpha must be 0 without momentum features (all_vision, all_text or teacher_vision, "
            f"teacher_text), but is {alpha}"
        )
    targets = []
    for rows, others in teachers:
        similarity = rows.float() @ others.float().T / temperature
        targets.append(mix_soft_targets(target, similarity, alpha))
    return tuple(targets)
