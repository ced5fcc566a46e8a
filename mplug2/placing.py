"""Bring a batch to where the network computes; the network itself casts it to its precision."""

from __future__ import annotations

from typing import Any

from torch import nn

from modules.streams import move


def placed(inputs: dict[str, Any], net: nn.Module) -> dict[str, Any]:
    """``inputs`` on the device of ``net``."""
    moved: dict[str, Any] = move(inputs, next(net.parameters()).device)
    return moved
