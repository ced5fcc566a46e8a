"""The scalars of optimizer steps as logged: averaged over ranks, with the names of the log."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mplug2.runtime import distributed
from registry.training import TrainingPlan

Part = tuple[str, str]  # a batch, and the goal that it trains


def averaged_scalars(
    scalars: Mapping[Part, Mapping[str, Tensor]], plan: TrainingPlan
) -> dict[str, float]:
    """Return the outputs of all parts of an optimizer step by their logged names, averaged over ranks."""
    names = [(part, output) for part, outputs in scalars.items() for output in outputs]
    sums = distributed.all_reduce_sum(
        *(scalars[part][output].item() for part, output in names)
    )
    values = {}
    for (part, output), total in zip(names, sums, strict=True):
        values[logged_name(output, part, plan)] = total / distributed.world_size()
    return values


def logged_name(output: str, part: Part, plan: TrainingPlan) -> str:
    """Return the name of a scalar in the log: `loss`, `loss/BATCH`, or `loss/BATCH/GOAL` where a step trains
    another goal than that of the batch."""
    batch, goal = part
    if goal != plan.batches[batch].goal:
        return f"{output}/{batch}/{goal}"
    return f"{output}/{batch}" if len(plan.batches) > 1 else output


def output_of(name: str) -> str:
    """Return the output of a goal that a logged name means."""
    return name.split("/")[0]
