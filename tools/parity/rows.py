"""Rows of a comparison: each recorded number next to ours, without omissions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mplug2.network import Network
from registry import Ref

ATOL, RTOL = 5e-5, 1e-4


@dataclass(frozen=True)
class Row:
    """One recorded output: its name, the largest difference of ours, and whether it is within the tolerance.

    ``compared`` is False for an output that nothing was compared with.
    """

    name: str
    difference: float
    good: bool
    compared: bool = True

    @property
    def verdict(self) -> str:
        """What the command prints for this row."""
        if not self.compared:
            return "NOT COMPARED"
        return "ok" if self.good else "BEYOND TOLERANCE"


class Comparison:
    """Collects rows; knows which recorded tensors were covered."""

    def __init__(self, outputs: dict[str, Tensor]) -> None:
        self.outputs = outputs
        self.rows: list[Row] = []
        self.covered: set[str] = set()

    def close(self, name: str, value: Tensor, expected: Tensor | None = None) -> None:
        """Compare numbers, at the tolerance that the fixtures were recorded with.

        Without ``expected`` with the output recorded under this name: nothing happens if there is none.
        """
        if expected is None:
            if name not in self.outputs:
                return  # a recording with fewer stages; what it has must still be compared
            expected = self.outputs[name]
            self.covered.add(name)
        expected = (
            expected.to(value.dtype).reshape(value.shape)
            if expected.numel() == value.numel()
            else expected
        )
        good = value.shape == expected.shape and torch.allclose(
            value, expected, ATOL, RTOL
        )
        difference = (
            float((value - expected).abs().max())
            if value.shape == expected.shape
            else float("inf")
        )
        self.rows.append(Row(name, difference, good))

    def equal(self, name: str, value: Any, expected: Any) -> None:
        """Compare ids, exactly."""
        self.rows.append(
            Row(name, 0.0 if value == expected else float("inf"), value == expected)
        )

    def same(self, name: str, value: Tensor) -> None:
        """Compare an output of integers exactly, if one is recorded under this name."""
        if name not in self.outputs:
            return
        self.covered.add(name)
        self.equal(
            name, value.flatten().tolist(), self.outputs[name].flatten().tolist()
        )

    def miss(self, name: str) -> None:
        """Add a failed row for a recorded tensor that has no place in the network."""
        self.rows.append(Row(name, float("nan"), False, compared=False))

    def not_compared(self) -> list[Row]:
        """Return a failed row for each recorded output that nothing was compared with."""
        names = sorted(set(self.outputs) - self.covered)
        return [
            Row(f"{name} (no counterpart here)", float("nan"), False, compared=False)
            for name in names
        ]


def run_streams(net: Network, batch: dict[str, Any], *names: str) -> dict[str, Any]:
    """Any streams of the network, by name: a goal that asks for them."""
    goal = "compare " + " ".join(names)
    if goal not in net.spec.goals:
        net.spec.goals[goal] = {
            name: Ref(*name.partition(".")[::2]) if "." in name else Ref(name)
            for name in names
        }
    return net(batch, goal)
