"""The folder of a run: who writes to it, where it resumes, and which checkpoints stay."""

from __future__ import annotations

from pathlib import Path

from mplug2.runtime import distributed
from mplug2.runtime.run_folder import CHECKPOINTS, run_folder
from mplug2.train import messages
from mplug2.train.run_lock import lock_run_folder
from mplug2.train.saved_steps import latest_checkpoint, point_to, prune, step_folder
from registry import Spec, UserError


def open_run_folder(spec: Spec, resume: bool) -> tuple[Path | None, bool]:
    """Return the newest checkpoint, and whether this process writes for others; all ranks must call this.

    The folder is locked until `run_locks` ends. UserError if another process trains into it, if it holds a
    run that is not to be resumed, or if it cannot hold links.
    """
    folder = run_folder(spec)
    writer = distributed.is_writer(folder)
    # Before anything is read: the recovery of interrupted saves would remove one that is being written.
    distributed.raise_on_all_ranks(lock_run_folder(folder) if writer else None)
    # `last` and `best` are links: some file systems have none.
    distributed.raise_on_all_ranks(messages.no_link(folder))
    last = latest_checkpoint(folder / CHECKPOINTS, writer)
    if last and not resume:
        raise UserError(messages.occupied(folder, last))
    return last, writer


def tidy_run_folder(
    folder: Path, saved: Path, best_step: int | None, keep_last: int
) -> None:
    """Point `last` and `best` to their checkpoints, and delete those that are neither recent nor best."""
    checkpoints = folder / CHECKPOINTS
    point_to(folder / "last", saved)
    if best_step is not None:
        point_to(folder / "best", step_folder(checkpoints, best_step))
    # After the links, so that they never point to a deleted folder.
    prune(checkpoints, keep_last, spare=set() if best_step is None else {best_step})
