"""Which parameters the backward passes of a step reached, and an optimizer step that leaves out the rest.

A parameter without a gradient is skipped by every torch optimizer: no weight decay, no momentum, no step
count. Engines that average gradients over ranks create zero gradients, which are not the same: AdamW would
still move and decay those parameters.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn

from mplug2.runtime import distributed


class ReachedParameters:
    """Records which trainable parameters of a network got a gradient since the last ``take``."""

    def __init__(self, net: nn.Module) -> None:
        self._parameters: dict[str, nn.Parameter] = {}
        for name, parameter in net.named_parameters():
            if parameter.requires_grad:
                self._parameters[name] = parameter
        self._here: set[int] = set()
        for index, parameter in enumerate(self._parameters.values()):
            # Fires after each backward pass, also if an engine takes the gradient away at once.
            parameter.register_post_accumulate_grad_hook(partial(self._record, index))

    def _record(self, index: int, parameter: Tensor) -> None:
        self._here.add(index)

    def take(self, same_on_all_ranks: bool) -> dict[str, nn.Parameter]:
        """Return the parameters reached on any rank, by name, and start over; all ranks must call this.

        ``same_on_all_ranks``: raise RuntimeError if a parameter was reached on some ranks only, which breaks
        engines that reduce gradients during the backward pass.
        """
        # On how many ranks each parameter was reached.
        counts = torch.zeros(len(self._parameters), dtype=torch.int32)
        counts[sorted(self._here)] = 1
        self._here.clear()
        counts = distributed.all_reduce_tensor(counts)
        world = distributed.world_size()
        reached = {}
        counted = zip(self._parameters.items(), counts.tolist(), strict=True)
        for (name, parameter), count in counted:
            if same_on_all_ranks and 0 < count < world:
                raise RuntimeError(
                    f"{name}: the backward passes of a step reached it on {count} of {world} ranks. With "
                    "train.zero above 0 all ranks must run the same modules in the same order"
                )
            if count:
                reached[name] = parameter
        return reached


def step_groups_with_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Take an optimizer step over the groups in which any parameter has a gradient.

    Some optimizers count steps for a group and not for a parameter: a group without gradients is left out.
    """
    groups = optimizer.param_groups
    stepped = []
    for group in groups:
        if any(parameter.grad is not None for parameter in group["params"]):
            stepped.append(group)
    if not stepped:
        return
    optimizer.param_groups = stepped
    try:
        optimizer.step()
    finally:
        optimizer.param_groups = groups


def clip_and_step(
    optimizer: torch.optim.Optimizer,
    parameters: Iterable[nn.Parameter],
    max_norm: float | None,
) -> float | None:
    """Clip the gradients of ``parameters`` and take a step, unless the gradients are not finite.

    Return the L2 norm before clipping, or None if no step was taken. Gradients must be averaged over ranks.
    """
    with_gradient, gradients = [], []
    for parameter in parameters:
        if parameter.grad is not None:
            with_gradient.append(parameter)
            gradients.append(parameter.grad)
    norm = nn.utils.get_total_norm(gradients)
    # Clipping by a norm that is not finite would spread NaN, or turn the signs of all gradients.
    if not bool(norm.isfinite()):
        return None
    if max_norm:
        nn.utils.clip_grads_with_norm_(with_gradient, max_norm, norm)
    step_groups_with_gradients(optimizer)
    return float(norm)
