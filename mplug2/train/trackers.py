"""Loggers that hand the numbers of a run to an experiment tracker: Weights & Biases, and Trackio."""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry import UserError

PROJECT = "mplug2"


class WandbLogger:
    """Sends the values to Weights & Biases, or with the environment variable ``WANDB_MODE=offline`` writes
    them to the folder ``wandb``, for `wandb sync`.

    A run that resumes continues the same run there. ``WANDB_PROJECT`` names another project than mplug2.
    """

    def __init__(self, folder: Path, step: int, settings: Mapping[str, Any]) -> None:
        """Start or continue the run of a folder; UserError if the package or the login is missing."""
        wandb = load_tracker("wandb")
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        try:
            self._run = wandb.init(
                project=project,
                name=folder.name,
                id=run_id(folder),
                resume="allow",
                dir=str(folder),
                config=dict(settings),
            )
        except wandb.Error as error:
            raise UserError(
                f"train.loggers: wandb cannot start ({error}). Run `wandb login`, or set WANDB_MODE=offline"
            ) from None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Send the values of a step."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Wait until all values are sent or written."""
        self._run.finish()


class TrackioLogger:
    """Writes the values to the local database of Trackio; `trackio show` displays them.

    A run that resumes continues the run of the same name, which is that of its folder with a number.
    """

    def __init__(self, folder: Path, step: int, settings: Mapping[str, Any]) -> None:
        """Start or continue the run of a folder; UserError if the package is missing."""
        self._trackio = load_tracker("trackio")
        name = f"{folder.name}-{run_id(folder)}"
        self._trackio.init(
            project=PROJECT, name=name, resume="allow", config=dict(settings)
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of a step."""
        self._trackio.log(dict(values), step=step)

    def close(self) -> None:
        """Wait until all values are written."""
        self._trackio.finish()


def load_tracker(package: str) -> Any:
    """Return the module of a tracker, which is an extra; UserError if it is not installed."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"train.loggers: {package} needs the package {package} ({error}). "
            f"Run `pip install mplug2[{package}]`, or remove it from train.loggers"
        ) from None


def run_id(folder: Path) -> str:
    """Return a short name that follows from where a run folder is: the same when the run resumes."""
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
