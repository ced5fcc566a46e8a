"""Gradient checkpointing by one word: ``recompute: all`` keeps a layer's inputs and computes it again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch.utils.checkpoint import checkpoint

Recompute = Literal["none", "all"]


def run(layer: Callable[..., Any], *args: Any, recompute: str = "none") -> Any:
    """Call ``layer(*args)``, under gradient checkpointing if ``recompute`` is 'all' and gradients are wanted."""
    if recompute == "all" and torch.is_grad_enabled():
        return checkpoint(layer, *args, use_reentrant=False)
    return layer(*args)
