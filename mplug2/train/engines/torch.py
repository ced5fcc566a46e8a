"""Plain PyTorch: one or several ranks, each with all weights, gradients averaged by all-reduce."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mplug2.runtime import distributed
from mplug2.train.engines.base import StepResult, find_tensor
from mplug2.train.engines.optimizer_state import (
    group_settings,
    load_full_state,
    save_full_state,
)
from mplug2.train.engines.reached import ReachedParameters, clip_and_step
from registry.errors import UserError

# Gradients that are reduced together: 128 MiB in float32, which bounds the memory of the copies.
BUCKET_ELEMENTS = 2**25


class TorchEngine:
    """Weights stay in float32; with `train.precision: bf16`, forward passes run under autocast.

    Optimizer state is the same on all ranks, so a checkpoint can be resumed on any number of them.
    """

    sharded = False

    @staticmethod
    def check_settings(settings: Mapping[str, Any]) -> None:
        """Raise UserError for settings that this engine cannot run."""
        if settings["precision"] == "fp16":
            raise UserError(
                "train.precision: the engine 'torch' has no loss scaling (got 'fp16'). "
                "Set train.precision=bf16, or train.engine=deepspeed"
            )
        if settings["zero"]:
            raise UserError(
                f"train.zero: the engine 'torch' does not shard (got {settings['zero']}). "
                "Set train.zero=0, or train.engine=deepspeed"
            )

    def __init__(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        settings: Mapping[str, Any],
    ) -> None:
        self.check_settings(settings)
        self.net = net.to(distributed.device())
        self._optimizer = optimizer
        self._settings = group_settings(optimizer)
        self._autocast = settings["precision"] == "bf16"
        self._reached = ReachedParameters(net)
        # Ranks may have drawn other weights: those of rank 0 count.
        if distributed.world_size() > 1:
            for parameter in net.parameters():
                dist.broadcast(parameter.detach(), src=0)

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer that was given."""
        return self._optimizer

    def __call__(
        self, batch: Mapping[str, Any], goal: str | tuple[str, ...] = "train"
    ) -> dict[str, Any]:
        """Return the outputs of a goal."""
        context: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        if self._autocast:
            context = torch.autocast(distributed.device().type, dtype=torch.bfloat16)
        with context:
            outputs: dict[str, Any] = self.net(batch, goal=goal)
        return outputs

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of ``loss``."""
        loss.backward()  # type: ignore[no-untyped-call]

    def step(self, max_norm: float | None) -> StepResult:
        """Average the gradients over ranks, clip them, and update what they reached."""
        reached = self._reached.take(same_on_all_ranks=False)
        # A parameter that only other ranks reached takes part in their average with zeros.
        gradients = []
        for parameter in reached.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        average_gradients(gradients)
        norm = clip_and_step(self._optimizer, reached.values(), max_norm)
        # To None, not to zero: optimizers leave out parameters without a gradient.
        self.net.zero_grad(set_to_none=True)
        return StepResult(norm is not None, norm)

    def save(self, folder: Path) -> None:
        """Write the optimizer state."""
        save_full_state(folder, self._optimizer, self._settings)

    def load(self, folder: Path) -> None:
        """Restore the optimizer state; that of rank 0 on ranks that did not exist before."""
        load_full_state(folder, self._optimizer)

    def consolidate(self, parameter: str | Tensor) -> Tensor:
        """Return the parameter: weights are complete and in float32 on all ranks."""
        tensor = (
            find_tensor(self.net, parameter)
            if isinstance(parameter, str)
            else parameter
        )
        return tensor.detach()


def average_gradients(gradients: Sequence[Tensor]) -> None:
    """Replace each gradient by its mean over ranks, in buckets; all ranks must have the same shapes."""
    if distributed.world_size() == 1:
        return
    bucket: list[Tensor] = []
    size = 0
    for gradient in gradients:
        bucket.append(gradient)
        size += gradient.numel()
        if size >= BUCKET_ELEMENTS:
            _average(bucket)
            bucket, size = [], 0
    _average(bucket)


def _average(bucket: list[Tensor]) -> None:
    if not bucket:
        return
    # One call for many tensors: the latency of a collective is paid once.
    flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
    dist.all_reduce(flat)
    flat /= distributed.world_size()
    means = flat.split([gradient.numel() for gradient in bucket])
    for gradient, mean in zip(bucket, means, strict=True):
        gradient.copy_(mean.view_as(gradient))
