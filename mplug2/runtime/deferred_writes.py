"""Files that are written later: a caller that may not wait pays for a copy of the tensors only."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
from torch import Tensor

Write = Callable[[], object]
_Kind = tuple[torch.Size, torch.dtype]


class DeferredWrites:
    """Writes that were put off, in order, and the memory of the tensors that they hold.

    The memory is used again: the system gives out new pages at a fraction of the speed of a copy.
    """

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self._free: dict[_Kind, list[Tensor]] = {}
        self._used: list[Tensor] = []

    def run(self) -> None:
        """Write the files."""
        for write in self.writes:
            write()

    def clear(self) -> None:
        """Forget the writes; the next ones take over their memory, and give back what they do not need."""
        self.writes = []
        self._free = {}
        for tensor in self._used:
            self._free.setdefault((tensor.shape, tensor.dtype), []).append(tensor)
        self._used = []

    def copied(self, value: Any) -> Any:
        """Return a copy of a value on the CPU, with the tensors in mappings, lists, tuples and iterators."""
        if isinstance(value, Tensor):
            free = self._free.get((value.shape, value.dtype))
            copy = free.pop() if free else torch.empty(value.shape, dtype=value.dtype)
            self._used.append(copy)
            return copy.copy_(value.detach())
        if isinstance(value, dict):
            return {key: self.copied(entry) for key, entry in value.items()}
        if isinstance(value, tuple):
            return tuple(self.copied(entry) for entry in value)
        # An iterator gathers one tensor at a time: it must be used up before the weights change.
        if isinstance(value, list | Iterator):
            return [self.copied(entry) for entry in value]
        return value


# A new thread starts without writes: what it writes is written at once.
_deferred: ContextVar[DeferredWrites | None] = ContextVar(
    "deferred_writes", default=None
)


@contextlib.contextmanager
def deferred_writes(deferred: DeferredWrites) -> Iterator[None]:
    """Put off the calls of `write_or_defer` while open: ``deferred.run()`` makes them."""
    before = _deferred.set(deferred)
    try:
        yield
    finally:
        _deferred.reset(before)


def write_or_defer(write: Callable[..., object], *values: Any) -> None:
    """Call ``write(*values)``; while `deferred_writes` is open, keep it for later with copies of ``values``.

    Tensors are copied to the CPU, also those in mappings, lists, tuples and iterators; the rest is kept as
    it is.
    """
    deferred = _deferred.get()
    if deferred is None:
        write(*values)
        return
    copies = [deferred.copied(value) for value in values]
    deferred.writes.append(partial(write, *copies))
