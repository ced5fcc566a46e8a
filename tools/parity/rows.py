"""Rows of a comparison: each recorded number beside ours, and none forgotten."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from mplug2.network import Network
from registry import Ref, UserError

ATOL, RTOL = 5e-5, 1e-4


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[None]:
    """While open, what cannot be read of ``folder`` is a UserError."""
    try:
        yield
    # a file that is not JSON or is another shape of it, one that is not safetensors or not whole
    except (OSError, KeyError, ValueError, TypeError, AttributeError, IndexError, SafetensorError) as error:
        what = f"{type(error).__name__}: {error}"
        raise UserError(f"{folder}: not a fixture that can be compared: {what}") from None


@dataclass(frozen=True)
class Row:
    """One recorded output: its name, how far ours is from it at most, and whether that is near enough."""

    name: str
    difference: float
    good: bool


class Comparison:
    """Collects rows; knows which recorded tensors were covered."""

    def __init__(self, outputs: dict[str, Tensor]) -> None:
        self.outputs = outputs
        self.rows: list[Row] = []
        self.covered: set[str] = set()

    def close(self, name: str, value: Tensor, expected: Tensor | None = None) -> None:
        """Compare numbers, at the tolerance that the fixtures were recorded with."""
        if expected is None:
            expected = self.outputs[name]
            self.covered.add(name)
        expected = (
            expected.to(value.dtype).reshape(value.shape) if expected.numel() == value.numel() else expected
        )
        good = value.shape == expected.shape and torch.allclose(value, expected, ATOL, RTOL)
        difference = float((value - expected).abs().max()) if value.shape == expected.shape else float("inf")
        self.rows.append(Row(name, difference, good))

    def equal(self, name: str, value: Any, expected: Any) -> None:
        """Compare ids, exactly."""
        self.rows.append(Row(name, 0.0 if value == expected else float("inf"), value == expected))

    def same(self, name: str, value: Tensor) -> None:
        """Compare a recorded tensor of whole numbers, exactly."""
        self.covered.add(name)
        self.equal(name, value.flatten().tolist(), self.outputs[name].flatten().tolist())

    def left_out(self) -> list[Row]:
        """Recorded outputs that nothing was compared with: gaps, not successes."""
        names = sorted(set(self.outputs) - self.covered)
        return [Row(f"{name} (no counterpart here)", float("nan"), False) for name in names]


def run_streams(net: Network, batch: dict[str, Any], *names: str) -> dict[str, Any]:
    """Any streams of the network, by name: a goal that asks for them."""
    goal = "compare " + " ".join(names)
    if goal not in net.spec.goals:
        net.spec.goals[goal] = {
            name: Ref(*name.partition(".")[::2]) if "." in name else Ref(name) for name in names
        }
    return net(batch, goal)
