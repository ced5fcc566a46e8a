"""Operations on the meta device that are computed once for all calls with equal inputs.

Most layers of a network are equal, and torch derives the shapes of some operations in Python code that takes
milliseconds a call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
# Their results are new tensors, whose shapes follow from the shapes of the inputs alone.
SLOW = frozenset(
    {
        aten.add.Tensor,
        aten.addmm.default,
        aten.gelu.default,
        aten.mul.Scalar,
        aten.mul.Tensor,
        aten.native_layer_norm.default,
        aten._safe_softmax.default,
    }
)


class RepeatedOps(TorchDispatchMode):
    """While it is active, slow operations on meta tensors run once for each combination of inputs."""

    def __init__(self) -> None:
        super().__init__()
        self._results: dict[Any, Any] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the result of an operation, or an empty tensor like that of an equal call before."""
        settings = dict(kwargs or {})
        tensors = [value for value in args if isinstance(value, Tensor)]
        # A tensor elsewhere has a content, on which a later result may depend.
        if func not in SLOW or not all(tensor.is_meta for tensor in tensors):
            return func(*args, **settings)
        key = (func, _described([*args, settings]))
        if key not in self._results:
            result = func(*args, **settings)
            self._results[key] = _described(result)
            return result
        return _blank(self._results[key])


def _described(value: Any) -> Any:
    """Return what of a value decides a result: of a tensor all but its content, of a collection its items.

    Numbers are described with their type, since 1, 1.0 and True are equal.
    """
    if isinstance(value, Tensor):
        return Tensor, tuple(value.shape), value.stride(), value.dtype, value.device
    if isinstance(value, dict):
        items = [(name, _described(item)) for name, item in value.items()]
        return dict, tuple(items)
    if isinstance(value, list | tuple):
        return tuple, tuple(_described(item) for item in value)
    # With its type, so that 1 and True do not share a result.
    return type(value), value


def _blank(description: Any) -> Any:
    """Return tensors without content that have a description."""
    kind, *rest = description
    if kind is tuple:
        return tuple(_blank(item) for item in rest[0])
    shape, stride, dtype, device = rest
    return torch.empty_strided(shape, stride, dtype=dtype, device=device)
