"""Training: optimizer, schedule, engine, checkpoints, and the loop that puts them together (``trainer.py``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mplug2.train.run import train as train


def __getattr__(name: str) -> Any:
    # Looked up when used: reading a weights file must not import all of the trainer
    if name != "train":
        raise AttributeError(f"module 'mplug2.train' has no attribute '{name}'")
    from mplug2.train.run import train

    return train
