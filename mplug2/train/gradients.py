"""The gradients of one optimizer step: several goals, several micro-batches, cached or not."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from modules.distributed import synced_ranks
from modules.kinds import half
from mplug2.runtime import distributed
from mplug2.runtime.rng import capture_rng, restore_rng
from mplug2.train.engines.base import Engine
from mplug2.train.iteration import OptimizerStep, Part
from registry.training import LOSS

Scalars = dict[
    str, Tensor
]  # this rank's mean of each scalar output over its micro-batches


def accumulate_gradients(
    engine: Engine, net: Any, step: OptimizerStep
) -> dict[tuple[str, str], Scalars]:
    """Run forward and backward passes of an optimizer step; return the scalars of each batch and goal.

    The gradient is that of the mean over the samples of all micro-batches and ranks; several goals are added.
    """
    scalars = {}
    for part in step.parts:
        # Ranks may write texts of unequal lengths, but must call sharded layers equally often.
        with synced_ranks() if engine.sharded else contextlib.nullcontext():
            if step.cache_gradients:
                scalars[part.batch, part.goal] = _cached_part(
                    engine, net, part, step.cache_gradients
                )
            else:
                scalars[part.batch, part.goal] = _plain_part(engine, net, part)
    return scalars


def _plain_part(engine: Engine, net: Any, part: Part) -> Scalars:
    num_micro_batches = len(part.micro_batches)
    totals: Scalars = {}
    with _common_counts(net, part):
        for index in range(num_micro_batches):
            outputs = engine(net.move(part.inputs(index)), part.goal)
            # Losses with a count divide by that of all micro-batches: see `_common_counts`.
            engine.backward(outputs[LOSS] / num_micro_batches)
            part.store(index, outputs)
            for name, value in _scalars(outputs).items():
                totals[name] = totals.get(name, 0.0) + value / num_micro_batches
    return totals


def _common_counts(net: Any, part: Part) -> contextlib.AbstractContextManager[Any]:
    """Let the losses of all micro-batches divide by the count of the complete optimizer step.

    Each micro-batch is then scaled by 1 / (number of micro-batches), and gradients are averaged over ranks:
    so a loss divides by count / (micro-batches * ranks). The count is known before the first forward pass. A
    loss that has none (in-batch contrast) is averaged over micro-batches.
    """
    num_micro_batches = len(part.micro_batches)
    if num_micro_batches == 1:
        return contextlib.nullcontext()  # a loss averages its own count over ranks
    totals: dict[str, Tensor] = {}
    for index in range(num_micro_batches):
        for stream, count in net.count_losses(part.inputs(index), part.goal).items():
            totals[stream] = totals.get(stream, torch.zeros(())) + count.float().cpu()
    parts = num_micro_batches * distributed.world_size()
    counts = {}
    for stream, total in totals.items():
        counts[stream] = distributed.all_reduce_tensor(total) / parts
    return net.loss_counts(counts)


def _cached_part(
    engine: Engine, net: Any, part: Part, streams: tuple[str, ...]
) -> Scalars:
    """Compute a loss over all micro-batches at once, in the memory of one (GradCache, arXiv 2101.06983).

    First the streams are computed without gradients, a micro-batch at a time. The loss of all of them
    together gives their gradients. Then each micro-batch is computed again, with the random numbers of the
    first time, and its streams pass their gradients on to the weights.
    """
    states, values = [], []
    for index in range(len(part.micro_batches)):
        states.append(capture_rng())
        with torch.no_grad():
            values.append(engine(net.move(part.inputs(index)), streams))
    joined = _joined(net, part, streams, values)
    outputs = engine(joined, part.goal)
    engine.backward(outputs[LOSS])
    state_after = capture_rng()

    first = dict.fromkeys(streams, 0)
    for index, state in enumerate(states):
        restore_rng(state)
        computed = engine(net.move(part.inputs(index)), streams)
        surrogate = torch.zeros((), device=net.device)
        for stream in streams:
            leaf, value = (
                _tensor(net, stream, joined[stream]),
                _tensor(net, stream, computed[stream]),
            )
            begin = first[stream]
            first[stream] = begin + len(value)
            if leaf.grad is not None:
                # Its gradient in the weights is the product of d loss / d stream and d stream / d weights.
                gradient = leaf.grad[begin : first[stream]].to(value.dtype)
                surrogate = surrogate + (value * gradient).float().sum()
        engine.backward(surrogate)
    restore_rng(state_after)
    return _scalars(outputs)


def _joined(
    net: Any, part: Part, streams: tuple[str, ...], values: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the batch of all micro-batches: cached streams as leaves, and the inputs that are read."""
    joined: dict[str, Any] = {}
    for stream in streams:
        kind = half(net.types[stream].kind)
        value = kind.detach(kind.concat([computed[stream] for computed in values]))
        for tensor in kind.tensors(value):
            if tensor.is_floating_point():
                tensor.requires_grad_()
        joined[stream] = value
    inputs = [net.move(part.inputs(index)) for index in range(len(part.micro_batches))]
    for name in net.plan(part.goal, frozenset(streams)).inputs:
        # Indices name groups of the split here, not rows of a micro-batch, and are not changed.
        offsets = [0] * len(inputs)
        parts = [batch[name] for batch in inputs]
        joined[name] = half(net.spec.inputs[name].kind).concat(parts, offsets)
    return joined


def _tensor(net: Any, stream: str, value: Any) -> Tensor:
    """Return the tensor of a stream that carries its gradient."""
    tensors: list[Tensor] = half(net.types[stream].kind).tensors(value)
    return next(tensor for tensor in tensors if tensor.is_floating_point())


def _scalars(outputs: Mapping[str, Any]) -> Scalars:
    """Return the scalar outputs of a goal: its loss, and what else is logged."""
    scalars = {}
    for name, value in outputs.items():
        if isinstance(value, Tensor) and value.ndim == 0:
            scalars[name] = (
                value.detach().float()
            )  # stays on its device: reading it would wait for it
    return scalars
