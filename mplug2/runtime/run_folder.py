"""Where a run is on disk."""

from __future__ import annotations

from pathlib import Path

from registry import Spec

CHECKPOINTS = "checkpoints"


def run_folder(spec: Spec) -> Path:
    """Return the folder that a training writes to: `train.output_dir`, or `runs/` and the spec's name."""
    return Path(spec.train["output_dir"] or Path("runs") / spec.name)
