"""Build modules without drawing their weights, for networks whose weights are read from a checkpoint next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch.overrides import TorchFunctionMode

# Functions of torch.nn.init and methods of tensors that fill a tensor with random numbers. Not `torch.randn`,
# which makes a new tensor: a buffer that a checkpoint may lack keeps its first value.
DRAWS = (
    "normal_",
    "uniform_",
    "trunc_normal_",
    "erfinv_",
    "kaiming_uniform_",
    "kaiming_normal_",
)


class UndrawnWeights(TorchFunctionMode):
    """While active, functions that fill a tensor with random numbers leave it as it was allocated.

    The memory of such weights is arbitrary. Drawing those of a large network takes ten times as long as
    everything else in building it.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in DRAWS:
            # torch.nn.init passes its tensor by keyword.
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
