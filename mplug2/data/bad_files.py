"""How many files are broken, each counted once, whichever rank meets it."""

from __future__ import annotations

from itertools import count
from typing import Protocol

import torch.distributed as dist

_number = count()  # every rank makes its loaders in the same order


class Store(Protocol):
    """Numbers that all ranks see: a store of torch.distributed."""

    def add(self, key: str, amount: int, /) -> int:
        """Add to the number of a key, which begins at 0, and return it."""
        ...


class BadFileCounter:
    """Counts different files over all ranks that share a store, or alone.

    A rank talks to the store when it meets a broken file, and at no other time: nothing waits for it.
    """

    def __init__(self, store: Store | None = None, name: str = "") -> None:
        self.store, self.name = store, name
        self._alone: set[str] = set()

    def add(self, file: str) -> int:
        """Count a file, unless it was counted before, and return how many there are."""
        if self.store is None:
            self._alone.add(file)
            return len(self._alone)
        new = self.store.add(f"{self.name}/file/{file}", 1) == 1
        return self.store.add(f"{self.name}/files", int(new))


def shared_tally() -> BadFileCounter:
    """Return a tally of the ranks of this run, or of this process where there is but one."""
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return BadFileCounter()
    from torch.distributed.distributed_c10d import _get_default_store

    # the store that the process group was made with; nothing else in torch counts without making ranks wait
    return BadFileCounter(_get_default_store(), f"mplug2/broken/{next(_number)}")
