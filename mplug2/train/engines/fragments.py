"""Optimizer steps by parameter under ZeRO, where DeepSpeed itself steps one flat tensor a group.

DeepSpeed gives the optimizer one flat float32 tensor for each parameter group: this rank's part of all its
masters. Stepping that tensor moves every parameter, also those without a gradient, and counts one step for
all. Here the real optimizer holds a view for each parameter instead (a *fragment*), and steps those that the
backward passes have reached, exactly as it does without ZeRO.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mplug2.train.engines.reached import step_groups_with_gradients


class DelegatingOptimizer(torch.optim.Optimizer):
    """The optimizer that DeepSpeed sees: it hands its parameters to a function instead of stepping them."""

    def __init__(
        self, groups: list[list[nn.Parameter]], on_step: Callable[[list[Tensor]], None]
    ) -> None:
        """Make an optimizer with ``groups``; ``on_step`` gets the parameters that DeepSpeed steps."""
        super().__init__([{"params": list(group), "lr": 0.0} for group in groups], {})
        self._on_step = on_step

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Call the function with the parameters that DeepSpeed has put into the groups."""
        parameters: list[Tensor] = []
        for group in self.param_groups:
            parameters += group["params"]
        self._on_step(parameters)


@dataclass(frozen=True)
class Fragment:
    """This rank's part of the float32 master of a parameter."""

    name: str  # Of the parameter.
    start: int  # In the flattened parameter.
    offset: int  # In the flat tensor.
    is_complete: bool  # Whether it holds the complete parameter.
    flat: Tensor  # DeepSpeed's flat tensor of the parameter group.
    # Shares memory with `flat`; has the parameter's shape if it is complete.
    view: nn.Parameter

    @property
    def numel(self) -> int:
        """How many elements of the parameter it holds."""
        return self.view.numel()


def make_fragment(
    name: str, shape: torch.Size, start: int, numel: int, flat: Tensor, offset: int
) -> Fragment:
    """Return elements ``start : start + numel`` of a parameter, which begin at ``offset`` in ``flat``."""
    view = flat.detach().narrow(0, offset, numel)
    is_complete = numel == shape.numel()
    if is_complete:
        view = view.view(shape)
    return Fragment(name, start, offset, is_complete, flat, nn.Parameter(view))


class FragmentStepper:
    """Steps the real optimizer over the fragments of the flat tensors that DeepSpeed steps."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, fragments: list[list[Fragment]]
    ) -> None:
        """Replace the parameters of each group of ``optimizer`` by a list of ``fragments``."""
        self.optimizer = optimizer
        self.fragments = [fragment for group in fragments for fragment in group]
        for group, parts in zip(optimizer.param_groups, fragments, strict=True):
            group["params"] = [fragment.view for fragment in parts]
            if "param_names" in group:
                group["param_names"] = [fragment.name for fragment in parts]

    def step(self, flats: list[Tensor], reached: Collection[str]) -> None:
        """Update the fragments of ``flats`` whose parameters are in ``reached``, by the flats' gradients."""
        # By identity: tensors compare element by element.
        identities = {id(flat) for flat in flats}
        for fragment in self.fragments:
            gradient = fragment.flat.grad
            is_stepped = id(fragment.flat) in identities and fragment.name in reached
            if is_stepped and gradient is not None:
                part = gradient.narrow(0, fragment.offset, fragment.numel)
                fragment.view.grad = part.view_as(fragment.view)
        step_groups_with_gradients(self.optimizer)
        for fragment in self.fragments:
            fragment.view.grad = None

    def layout(self) -> list[dict[str, Any]]:
        """Return what this rank holds, in the order of the optimizer's state, to be compared on resume."""
        rows = []
        for fragment in self.fragments:
            rows.append(
                {
                    "name": fragment.name,
                    "start": fragment.start,
                    "numel": fragment.numel,
                }
            )
        return rows

    def split_flat_state(
        self, flats: list[Tensor], saved: dict[int, dict[str, Any]]
    ) -> dict[int, Any]:
        """Return the state of each fragment from that of flat tensors, as older checkpoints hold it."""
        indices = {id(flat): index for index, flat in enumerate(flats)}
        states = {}
        for number, fragment in enumerate(self.fragments):
            flat_state = saved.get(indices[id(fragment.flat)], {})
            state = {}
            for key, value in flat_state.items():
                if isinstance(value, Tensor) and value.numel() == fragment.flat.numel():
                    part = value.reshape(-1).narrow(0, fragment.offset, fragment.numel)
                    state[key] = part.view_as(fragment.view).clone()
                else:
                    state[key] = value.clone() if isinstance(value, Tensor) else value
            states[number] = state
        return states
