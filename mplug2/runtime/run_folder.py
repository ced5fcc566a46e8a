"""Where a run is on disk."""

from __future__ import annotations

from pathlib import Path

from registry import Spec, UserError

CHECKPOINTS = "checkpoints"


def run_folder(spec: Spec) -> Path:
    """Return the folder that a training writes to: `train.output_dir`, or `runs/` and the spec's name."""
    return Path(spec.train["output_dir"] or Path("runs") / spec.name)


def trained_checkpoint(spec: Spec) -> Path:
    """Return the best checkpoint of the spec's run folder, or the last if none was selected; raise
    `UserError` if there is none."""
    run = run_folder(spec)
    for name in ("best", "last"):
        checkpoint = run / name
        if checkpoint.exists():
            return checkpoint
    raise UserError(
        f"no checkpoint was given, and {run / 'best'} does not exist; train one "
        f"(`mplug2 train {spec.path}`) or name one: --checkpoint PATH, in Python checkpoint=PATH"
    )
