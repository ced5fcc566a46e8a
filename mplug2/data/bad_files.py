"""Files that cannot be used: each is counted once, whichever rank meets it, and named in the log."""

from __future__ import annotations

import logging
from itertools import count
from typing import Protocol

import torch.distributed as dist

from mplug2.data.batch import FailedSample
from registry.errors import UserError

log = logging.getLogger(__name__)

SHOWN = 20  # files that a message lists

# Numbers of counters: every rank makes its loaders in the same order, so they agree.
_number = count()


class Store(Protocol):
    """Numbers that all ranks see: a store of torch.distributed."""

    def add(self, key: str, amount: int, /) -> int:
        """Add to the number of a key, which begins at 0, and return it."""
        ...


class BadFileCounter:
    """Counts different files over all ranks that share a store, or of this process alone.

    A rank uses the store only when it meets a bad file: no rank waits for another.
    """

    def __init__(self, store: Store | None = None, name: str = "") -> None:
        self.store, self.name = store, name
        self._alone: dict[str, int] = {}

    def add(self, file: str, num_files: int = 1) -> int:
        """Count a file, unless it was counted before, and return how many there are.

        An archive counts as the ``num_files`` that it holds.
        """
        if self.store is None:
            self._alone[file] = num_files
            return sum(self._alone.values())
        # The first rank that counts a file gets 1: the others add nothing.
        new = self.store.add(f"{self.name}/file/{file}", 1) == 1
        return self.store.add(f"{self.name}/files", num_files if new else 0)


def shared_counter() -> BadFileCounter:
    """Return a counter shared by the ranks of this run, or one of this process if it is the only one."""
    if (
        not dist.is_available()
        or not dist.is_initialized()
        or dist.get_world_size() == 1
    ):
        return BadFileCounter()
    from torch.distributed.distributed_c10d import _get_default_store

    # The store that the process group was made with: nothing else in torch counts without making ranks wait.
    return BadFileCounter(_get_default_store(), f"mplug2/broken/{next(_number)}")


class BadFiles:
    """The bad files that this rank met (``reasons``); UserError once too many were met over all ranks."""

    def __init__(
        self,
        num_files: int,
        max_bad_fraction: float,
        counter: BadFileCounter | None,
        consequence: str,
    ) -> None:
        """Take the number of files, the fraction that may be bad, and the consequence that the log prints
        for a bad one."""
        self.reasons: dict[str, str] = {}
        self.num_files, self.allowed = num_files, max_bad_fraction * num_files
        self.counter = counter or BadFileCounter()
        self.consequence = consequence

    def add(self, failed: FailedSample) -> None:
        """Count the file of a failed sample, and log it the first time."""
        if failed.file in self.reasons:
            return
        self.reasons[failed.file] = failed.reason
        log.warning(
            "cannot use %s: %s (%s)", failed.file, failed.reason, self.consequence
        )
        num_bad = self.counter.add(failed.file, failed.num_files)
        if num_bad > self.allowed:
            fraction = f"{num_bad} of {self.num_files} files"
            rule = f"data.max_bad_fraction allows {self.allowed:g} of them"
            hint = "`mplug2 data check` lists all, `exclude_list:` leaves them out"
            raise self.error(f"{fraction} cannot be used, but {rule}; {hint}", num_bad)

    def error(self, message: str, num_bad: int | None = None) -> UserError:
        """Return an error with the files that this rank met."""
        reasons = list(self.reasons.values())
        lines = [f"{message}:"]
        lines += [f"  {reason}" for reason in reasons[:SHOWN]]
        more = (num_bad or len(reasons)) - min(len(reasons), SHOWN)
        if more > 0:
            lines.append(f"  and {more} more")
        return UserError("\n".join(lines))
