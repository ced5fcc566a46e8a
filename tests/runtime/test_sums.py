"""Sums over ranks: what `all_reduce_sum` takes, and what it says of anything else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mplug2.runtime import distributed


def test_sums_are_floats_in_the_order_of_the_arguments() -> None:
    sums = distributed.all_reduce_sum(
        1, 2.5, torch.tensor(3), torch.tensor([4.0]), np.float32(5)
    )
    assert sums == [1.0, 2.5, 3.0, 4.0, 5.0]
    assert all(type(value) is float for value in sums)


@pytest.mark.parametrize(
    ("value", "described"),
    [
        ([1, 2], "list"),
        ("3", "str"),
        (torch.ones(2), "Tensor of 2 elements"),
        (None, "NoneType"),
    ],
)
def test_anything_else_is_refused_on_one_rank_too(value: Any, described: str) -> None:
    with pytest.raises(
        TypeError, match=rf"\(got {described}\)\. Write `all_reduce_sum\(\*values\)`"
    ):
        distributed.all_reduce_sum(value)
