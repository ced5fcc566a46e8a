"""The averaged copies of modules that ``ema(...)`` reads, and where a network's weights are.

The copies are outside the module tree: an engine must neither train, split nor cast them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from typing_extensions import Self

from modules.ema import EMA
from mplug2.freezing import FreezableNetwork
from registry import Spec, shadowed_modules


class AveragedNetwork(FreezableNetwork):
    """A network with averaged copies of some of its modules; ``ema`` is None where no goal reads one."""

    ema: EMA | None
    spec: Spec

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        # Not by attribute, which would register the copies as a submodule.
        self.__dict__["ema"] = None

    def init_ema(self) -> None:
        """Copy the modules that an ``ema(...)`` needs, with their current weights."""
        names = shadowed_modules(self.spec)
        if names:
            # Not by attribute: a spec may call a module `train` or `modules`, which nn.Module has taken.
            students = {}
            for name in sorted(names):
                student = self._modules[name]
                assert student is not None
                students[name] = student
            # Past nn.Module, as in the constructor.
            self.__dict__["ema"] = EMA(students, self.spec.momentum["decay"])

    def update_ema(self, master: Callable[[Tensor], Tensor] | None = None) -> None:
        """Move the averaged copies one step towards the weights; once per optimizer step, before it.

        ``master`` returns the float32 value of a parameter that an engine keeps in 16 bit or shards
        (`Engine.consolidate`); all ranks must call this.
        """
        if self.ema is not None:
            self.ema.update(master=master)

    def ema_state_dict(self) -> dict[str, Tensor]:
        """Return the averaged copies' tensors, by the names of the weights; empty without ``ema(...)``."""
        return {} if self.ema is None else self.ema.state_dict()

    def load_ema_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `ema_state_dict` returned."""
        if self.ema is not None:
            self.ema.load_state_dict(state)

    def averaged_module(self, name: str) -> nn.Module:
        """Return the averaged copy of a module, in the mode that the module has in this iteration."""
        assert self.ema is not None, "init_ema() was not called"
        average = self.ema.modules[name].train(self.training)
        # A frozen part of the module is in eval mode, so its copy is, too.
        for path in self.frozen_modules():
            module, _, inner = path.partition(".")
            if module == name:
                average.get_submodule(inner).eval()
        return average

    def in_full_precision(self) -> contextlib.AbstractContextManager[object]:
        """Return the context of a call to a copy: its float32 weights run in the network's precision by autocast."""
        if self.device.type == "meta":
            # A dry run: autocast does not support this device.
            return contextlib.nullcontext()
        # Copies of a float32 network have its precision already, and autocast stays off.
        half = self.dtype in (torch.bfloat16, torch.float16)
        precision = self.dtype if half else torch.bfloat16
        return torch.autocast(self.device.type, dtype=precision, enabled=half)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        if self.ema is not None:
            # The copies follow to another device, but keep full precision.
            self.ema.to(self.device)
        return self

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        for parameter in self.parameters():
            return parameter.device
        # Not traced by torch.compile, so only asked for where there is no parameter.
        return torch.get_default_device()

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights, and so of the network's real-valued inputs."""
        for parameter in self.parameters():
            if parameter.is_floating_point():
                return parameter.dtype
        return torch.get_default_dtype()
