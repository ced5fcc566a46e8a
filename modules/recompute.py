"""Gradient checkpointing by one word: with ``recompute: all`` a layer keeps its inputs and runs again in
the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# set by the dry run, which adds up what is kept for the backward pass
on_saved_tensor: Callable[[Tensor], object] | None = None


def checkpoint_layer(
    layer: Callable[..., Any], *args: Any, recompute: str = "none"
) -> Any:
    """Call ``layer(*args)``, under gradient checkpointing if ``recompute`` is 'all' and gradients are
    wanted."""
    if recompute != "all" or not torch.is_grad_enabled():
        return layer(*args)
    # Under checkpointing the layer keeps no tensors: only its inputs are kept.
    if on_saved_tensor is not None:
        for arg in args:
            if isinstance(arg, Tensor):
                on_saved_tensor(arg)
    return checkpoint(layer, *args, use_reentrant=False)
