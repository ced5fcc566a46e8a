"""Eval mode for the duration of a block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn


@contextlib.contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """While open, ``module`` is in eval mode; then each submodule returns to the mode that it had.

    Frozen submodules are in eval mode while the others train, so one mode for all would not restore them.
    """
    modes = [(submodule, submodule.training) for submodule in module.modules()]
    module.eval()
    try:
        yield
    finally:
        # The root first: a module may override `train`, as frozen networks do, to set more than the flag.
        module.train(modes[0][1])
        for submodule, was_training in modes:
            submodule.training = was_training
