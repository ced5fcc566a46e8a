"""The checkpoints of a run's folder: which are complete, which are the newest, and which stay.

A complete checkpoint is ``step_00000500``. While it is written its name ends in ``.tmp``, and while it is
replaced or deleted in ``.old``.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from mplug2.runtime import distributed
from mplug2.runtime.manifest import finish_replacements
from mplug2.train.checkpoint_state import STATE

_STEP = "step_"
_NAME = re.compile(_STEP + r"(\d{8})(\.tmp|\.old)?")


def steps_written(folder: Path) -> list[int]:
    """The steps of the complete checkpoints in ``folder``, oldest first."""
    steps = []
    for path in folder.glob(_STEP + "*"):
        match = _NAME.fullmatch(path.name)
        # A name with a suffix is a save that was interrupted; so is a folder without its state.
        if match and not match[2] and (path / STATE).is_file():
            steps.append(int(match[1]))
    return sorted(steps)


def step_folder(folder: Path, step: int) -> Path:
    """Return the folder of the checkpoint of ``step``."""
    return folder / f"{_STEP}{step:08d}"


def latest_checkpoint(folder: Path, writer: bool) -> Path | None:
    """Return the newest checkpoint that is complete on the disks of all ranks; all ranks must call this.

    ``writer`` ranks first finish or remove what a crash left.
    """
    if writer:
        _recover_interrupted_saves(folder)
    # No rank may list the folder while it is tidied.
    distributed.barrier()
    # Each machine has its own disk: a crash may leave a checkpoint complete on some of them only.
    steps_of_ranks = distributed.all_gather_object(steps_written(folder))
    common = set(steps_of_ranks[0]).intersection(*steps_of_ranks[1:])
    return step_folder(folder, max(common)) if common else None


def prune(folder: Path, keep: int, spare: set[int]) -> None:
    """Delete all but the newest ``keep`` checkpoints on this machine; those of the steps in ``spare`` stay,
    and 0 keeps all."""
    if not keep:
        return
    for step in steps_written(folder)[:-keep]:
        if step not in spare:
            doomed = step_folder(folder, step)
            gone = doomed.with_suffix(".old")
            # Renamed first: a half deleted folder must not look like a checkpoint.
            doomed.rename(gone)
            shutil.rmtree(gone)


def point_to(link: Path, target: Path) -> None:
    """Point the link ``link`` (``best``, ``last``) to ``target``, atomically."""
    # A link cannot be overwritten, but it can be replaced by renaming another one.
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(os.path.relpath(target, link.parent))
    fresh.replace(link)


def _recover_interrupted_saves(folder: Path) -> None:
    """Finish or remove what a crash left between two names."""
    for step in steps_written(folder):
        # A crash during `write_state` leaves a new file next to the old one.
        finish_replacements(step_folder(folder, step))
    for path in folder.glob(_STEP + "*"):
        name = _NAME.fullmatch(path.name)
        final = path.with_suffix("")
        replaces = path.with_suffix(".old").exists() and not final.exists()
        # It was complete when the folder that it replaces was renamed.
        if name and name[2] == ".tmp" and replaces:
            path.rename(final)
    # What is left was interrupted while it was written, or is replaced.
    for path in folder.glob(_STEP + "*"):
        name = _NAME.fullmatch(path.name)
        if name and name[2]:
            shutil.rmtree(path, ignore_errors=True)
