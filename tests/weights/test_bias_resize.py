"""Tables of relative positions for another resolution: recorded ones, and what a cubic spline must keep."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mplug2.weights.bias_resize import (
    relative_bias,
    resize_table,
    source_positions,
    spline_weights,
)

X = [-4.0, -2.5, -1.0, 0.0, 1.0, 2.5, 4.0]


def test_positions_are_those_that_were_recorded(shared: Path) -> None:
    folder = shared / "reference/parity/beit/resize"
    for case in json.loads((folder / "config.json").read_text())["cases"]:
        old, new = (2 * case[f"window_{when}"] - 1 for when in ("before", "after"))
        assert source_positions(old, new) == pytest.approx(
            case["source_positions"], abs=1e-9
        )


def test_tables_are_those_that_were_recorded(shared: Path) -> None:
    folder = shared / "reference/parity/beit/resize"
    inputs, outputs = (
        load_file(folder / f"{name}.safetensors") for name in ("inputs", "outputs")
    )
    for name in ("w14_w24", "w14_w30", "w4_w6", "w7_w5"):
        expected = outputs[f"{name}.after"]
        resized = relative_bias(inputs[f"{name}.before"], expected)
        assert resized is not None
        torch.testing.assert_close(resized[0], expected, atol=2e-6, rtol=0)
        assert torch.equal(resized[0][-3:], inputs[f"{name}.before"][-3:])


def test_a_cubic_polynomial_is_met_exactly() -> None:
    def cubic(x: torch.Tensor) -> torch.Tensor:
        return 2 - x + 0.5 * x**2 - 0.25 * x**3

    targets = [-4.0, -3.3, -0.2, 0.0, 0.7, 3.9, 4.0]
    weights = spline_weights(X, targets)
    values = weights @ cubic(torch.tensor(X, dtype=torch.float64))
    torch.testing.assert_close(
        values, cubic(torch.tensor(targets, dtype=torch.float64))
    )


def test_points_are_met_and_beyond_the_ends_nothing_grows() -> None:
    values = torch.randn(
        len(X), dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(spline_weights(X, X) @ values, values)
    outside = spline_weights(X, [-9.0, 9.0]) @ values
    torch.testing.assert_close(outside, values[[0, -1]])


def test_tables_that_cannot_be_resized() -> None:
    table = torch.zeros(52, 4)
    assert relative_bias(table, torch.zeros(52, 3)) is None
    with pytest.raises(
        ValueError, match="tables must be of square grids, but have 51 and 124 rows"
    ):
        relative_bias(table[:51], torch.zeros(124, 4))
    with pytest.raises(
        ValueError, match="must have 4 offsets or more in each direction, but has 3"
    ):
        resize_table(torch.zeros(12, 1), 3, 5)
