"""Check stage 5: one tiny step on the CPU, after which every trainable parameter must have a gradient."""

from __future__ import annotations

import logging
from collections.abc import Container
from typing import Any

import torch
from torch import Tensor, nn

from modules.kinds import half
from mplug2.build.compose import compose
from mplug2.build.dry_run import located
from mplug2.build.shrink import narrowed
from mplug2.network import Network
from registry import Problem, Spec, SpecError, UserError

ROWS = 2  # of every first axis, so that an index into it may be 0 or 1
LENGTHS = {"L": 6}
SHORT = 4  # of all other free axes
SHOWN = 3  # parameters that a message names
LARGE = 50_000_000  # parameters

log = logging.getLogger("mplug2")


class _Rehearsal:
    """A stand-in for the training data and its task, for modules that need them."""

    items: tuple[Any, ...] = ()

    @property
    def task(self) -> _Rehearsal:
        return self

    @staticmethod
    def references(items: tuple[Any, ...]) -> list[list[str]]:
        return [["a word", "another word"]]


def rehearse(net: nn.Module) -> None:
    """Show a stand-in for the training data to the modules of ``net`` that ask for it."""
    for part in net.children():
        if callable(attach := getattr(part, "attach_data", None)):
            attach(_Rehearsal(), str)


def tiny_batch(net: Network, goal: str, seed: int = 0) -> dict[str, Any]:
    """Return random inputs of a goal: two of everything, short texts of the first few words."""
    generator = torch.Generator().manual_seed(seed)
    input_types = [net.types[name] for name in net.spec.inputs]
    row_axes = {declared.axes[0] for declared in input_types if declared.axes}
    batch: dict[str, Any] = {}
    for name in net.plan(goal).inputs:
        declared = net.types[name]
        sizes = [_size(axis, row_axes) for axis in declared.axes]
        batch[name] = half(declared.kind).random(sizes, generator, ROWS)
    return batch


def _size(axis: int | str, row_axes: Container[int | str]) -> int:
    """Return the size of an axis; by its letter alone, since a letter has one size in all inputs."""
    if isinstance(axis, int):
        return axis
    return LENGTHS.get(axis, ROWS if axis in row_axes else SHORT)


def smoke(spec: Spec) -> str:
    """Build the network with random weights and take the gradients of all goals with a loss, once.

    Returns the note of `small_network`. Raises `SpecError` as `check_step` does.
    """
    net, note = small_network(spec)
    check_step(net)
    return note


def small_network(spec: Spec) -> tuple[Network, str]:
    """Return a network with random weights, made narrow if it has more than `LARGE` parameters.

    The text describes what was done to it, and is empty if nothing was.
    """
    spec, note = _affordable(spec)
    torch.manual_seed(0)
    net = compose(spec, initial=False).train()
    rehearse(net)
    return net, note


def check_step(net: Network) -> None:
    """Compute all goals, and the gradients of those with a loss, once.

    Raises `SpecError` at the line that cannot be computed, at a loss that is not finite or that nothing to
    train has a part in, and at the modules with trainable parameters that no loss reaches.
    """
    spec = net.spec
    losses = [goal for goal, outputs in spec.goals.items() if "loss" in outputs]
    for goal in spec.goals:
        net.train(goal in losses)
        with torch.set_grad_enabled(goal in losses):
            outputs = _computed(net, goal)
        if goal not in losses:
            continue
        loss = _judged(spec, goal, outputs["loss"])
        # The loss of an evaluation may be that of frozen modules alone.
        if loss.requires_grad:
            loss.backward()
    problems = []
    for name in spec.modules:
        problems += _without_gradient(net, name, losses)
    if problems:
        raise SpecError(problems)


def _judged(spec: Spec, goal: str, loss: Tensor) -> Tensor:
    """A goal's loss, if it is a finite number, and that of training depends on something to train."""
    place, what = spec.goals[goal]["loss"].place, f"the loss of goal '{goal}' must"
    if loss.numel() != 1:
        raise SpecError.at(
            place, f"{what} be one number, but its shape is {list(loss.shape)}"
        )
    if not torch.isfinite(loss):
        raise SpecError.at(place, f"{what} be finite, but is {loss.item()}")
    if goal == "train" and not loss.requires_grad:
        hint = "compute it by a module with parameters"
        if spec.freeze:
            hint = "let `freeze` leave something over"
        raise SpecError.at(
            place, f"{what} depend on a trainable parameter, but depends on none", hint
        )
    return loss


def _affordable(spec: Spec) -> tuple[Spec, str]:
    """Return the network to test, and a note about it."""
    # On the meta device: a large network is counted without memory for its weights.
    net = compose(spec, device="meta", initial=False)
    parameters = sum(parameter.numel() for parameter in net.parameters())
    if parameters <= LARGE:
        return spec, ""
    narrow, divisor = narrowed(spec)
    if divisor > 1:
        return narrow, f"stage 5 with widths divided by {divisor}"
    # Weights and gradients, four bytes each.
    memory = 2 * 4 * parameters / 1e9
    log.warning(
        "%s: stage 5 takes its step with all %d million parameters, which needs minutes and more than "
        "%.0f GB of memory: its widths cannot be made smaller together",
        spec.path,
        parameters // 10**6,
        memory,
    )
    return spec, ""


def _computed(net: Network, goal: str) -> dict[str, Any]:
    try:
        return net(tiny_batch(net, goal), goal)
    except UserError:
        raise
    except Exception as error:
        raise SpecError([located(error, net.spec)]) from error


def _without_gradient(net: Network, name: str, losses: list[str]) -> list[Problem]:
    """The problem of a module with trainable parameters that got no gradient, or none."""
    part: nn.Module = net.get_module(name)
    missed = []
    for key, parameter in part.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            missed.append(key)
    if not missed or not losses:
        return []
    more = f" and {len(missed) - SHOWN} more" if len(missed) > SHOWN else ""
    listed = ", ".join(f"{name}.{key}" for key in missed[:SHOWN]) + more
    goals = ", ".join(losses)
    message = f"every trainable parameter must get a gradient, but no loss ({goals}) reaches {listed}"
    # The hint freezes the complete module only if no loss reaches any of it.
    is_unused = all(parameter.grad is None for parameter in part.parameters())
    pattern = name if is_unused else f"{name}.{missed[0]}"
    hint = f"use it in a loss, or `freeze: [{pattern}]`"
    return [Problem(net.spec.key_place("modules", name), message, hint)]
