"""Files that are written later: a caller that may not wait pays for a copy of the tensors only."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any

from torch import Tensor

Write = Callable[[], object]
# A new thread starts without a list: what it writes is written at once.
_deferred: ContextVar[list[Write] | None] = ContextVar("deferred_writes", default=None)


@contextlib.contextmanager
def deferred_writes() -> Iterator[list[Write]]:
    """Collect the calls of `write_or_defer` while open; calling them in order writes the files."""
    writes: list[Write] = []
    before = _deferred.set(writes)
    try:
        yield writes
    finally:
        _deferred.reset(before)


def write_or_defer(write: Callable[..., object], *values: Any) -> None:
    """Call ``write(*values)``; while `deferred_writes` is open, keep it for later with copies of ``values``.

    Tensors are copied to the CPU, also those in mappings, lists, tuples and iterators; the rest is kept as
    it is.
    """
    writes = _deferred.get()
    if writes is None:
        write(*values)
        return
    copies = [_copied(value) for value in values]
    writes.append(partial(write, *copies))


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        # `copy`: a tensor that is on the CPU already would be changed by the next step.
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(entry) for key, entry in value.items()}
    if isinstance(value, tuple):
        return tuple(_copied(entry) for entry in value)
    # An iterator gathers one tensor at a time: it must be used up before the weights change.
    if isinstance(value, list | Iterator):
        return [_copied(entry) for entry in value]
    return value
