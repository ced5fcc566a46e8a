"""Report what is computed inside modules, by their paths."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from registry import UserError

Observer = Callable[[str, Any], None]


@contextlib.contextmanager
def observed_submodules(network: nn.Module, observe: Observer | None) -> Iterator[None]:
    """While open, call ``observe(path, output)`` after every call of a submodule; nothing for None."""
    if observe is None:
        yield
        return
    if not callable(observe):
        raise UserError(
            f"observe must be a function of a name and a value (got {observe!r})"
        )
    with contextlib.ExitStack() as stack:
        for path, module in network.named_modules():
            if path:  # the network itself has none
                handle = module.register_forward_hook(_reporting(observe, path))
                stack.callback(handle.remove)
        yield


def _reporting(observe: Observer, path: str) -> Callable[[nn.Module, Any, Any], None]:
    """Return a forward hook that reports a module's output under its path."""

    def report(module: nn.Module, inputs: Any, output: Any) -> None:
        observe(path, output)

    return report
