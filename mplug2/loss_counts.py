"""What the losses of a goal divide by, known before any forward pass."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from registry import Plan, Ref, Spec, Step, ancestors, steps_without_modules

StepKey = tuple[str, bool]


@dataclass(frozen=True)
class CountedLoss:
    """A loss whose count follows from inputs and operations: the ports and options that its count reads."""

    step: Step
    count: Callable[..., Any]
    ports: dict[str, Ref]
    options: dict[str, Any]


def counted_losses(
    plan: Plan,
    spec: Spec,
    operations: Mapping[str, Any],
    options_of: Callable[[Step], dict[str, Any]],
) -> tuple[list[CountedLoss], frozenset[StepKey]]:
    """Return the losses of a plan that can be counted, and the keys of the steps that their counts need.

    A loss whose count depends on the output of a module is left out.
    """
    without_modules = steps_without_modules(plan, spec)
    keys = {step.key for step in plan.steps}
    losses: list[CountedLoss] = []
    needed: set[StepKey] = set()
    for step in plan.steps:
        # An average's loss is a target of distillation at most: nothing divides by its count.
        if not step.declaration.counted or step.shadow:
            continue
        count = operations[step.equation.callee].count
        names = inspect.signature(count).parameters
        ports = {}
        for name, ref in step.binding.ports.items():
            if name in names and isinstance(ref, Ref):
                ports[name] = ref
        options = {
            name: value for name, value in options_of(step).items() if name in names
        }
        before = ancestors(plan, ports.values()) & keys
        if before <= without_modules:
            losses.append(CountedLoss(step, count, ports, options))
            needed |= before
    return losses, frozenset(needed)
