"""The file of each rank in an engine's folder: ``rank_00000.pt``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mplug2.runtime import distributed
from mplug2.runtime.deferred_writes import write_or_defer


def rank_file(folder: Path, rank: int | None = None) -> Path:
    """Return the path of a rank's file; of this rank's by default."""
    number = distributed.rank() if rank is None else rank
    return folder / f"rank_{number:05d}.pt"


def write_rank_file(folder: Path, payload: dict[str, Any]) -> None:
    """Write this rank's ``payload`` of tensors and plain values; OSError if the disk is full.

    Within `deferred_writes` the file is written later.
    """
    write_or_defer(_write_payload, rank_file(folder), payload)


def _write_payload(path: Path, payload: dict[str, Any]) -> None:
    try:
        torch.save(payload, path)
    except RuntimeError as error:
        # This is what torch makes of a full disk.
        raise OSError(str(error).splitlines()[0]) from error


def read_rank_file(
    folder: Path, key: str, *, types: list[Any] | None = None, any_rank: bool = False
) -> dict[str, Any]:
    """Return what this rank wrote into ``folder``; all ranks must call this.

    The file must hold ``key``; ``types`` are classes that it may contain. With ``any_rank``, a rank without a
    file reads that of rank 0.
    Raises `UserError` on all ranks if a file is missing or damaged.
    """
    file = rank_file(folder)
    if any_rank and not file.is_file():
        file = rank_file(folder, 0)
    payload: dict[str, Any] = {}
    problem = None
    if not file.is_file():
        problem = f"{file} is missing: start the ranks on the machines where they wrote it, or copy it there"
    else:
        try:
            with torch.serialization.safe_globals(types or []):
                # Checkpoints may come from others: tensors and plain values only, no code of a pickle.
                payload = torch.load(file, map_location="cpu", weights_only=True)
            _ = payload[key]
        except Exception as error:
            # Which one depends on where the damage is.
            problem = (
                f"{file} must be what mplug2 wrote, but is damaged ({type(error).__name__}). Delete "
                f"{folder.parent} to resume from the checkpoint before it"
            )
    distributed.raise_on_all_ranks(problem)
    return payload
