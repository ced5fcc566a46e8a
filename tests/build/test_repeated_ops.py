"""Equal operations on the meta device run once, and give what they would give each time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mplug2.build.repeated_ops import RepeatedOps

X, Y = (
    torch.empty(2, 3, 4, device="meta"),
    torch.empty(4, 3, 2, device="meta").permute(2, 1, 0),
)


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: x + 1,
        lambda x: x * 2.0,
        lambda x: x.half() + x,
        lambda x: functional.gelu(x),
        lambda x: functional.layer_norm(x, (4,)),
        lambda x: functional.linear(
            x, torch.empty(5, 4, device="meta"), torch.empty(5, device="meta")
        ),
        lambda x: functional.scaled_dot_product_attention(x, x, x),
    ],
)
@pytest.mark.parametrize("x", [X, Y])
def test_a_repeated_result_has_the_shape_layout_and_type_of_the_first(
    operation: Callable[[Tensor], Tensor], x: Tensor
) -> None:
    expected = operation(x)
    with RepeatedOps():
        results = [operation(x), operation(x)]
    for result in results:
        assert (result.shape, result.stride()) == (expected.shape, expected.stride())
        assert (result.dtype, result.device) == (expected.dtype, expected.device)
    assert results[0] is not results[1]


def test_inputs_that_differ_are_not_taken_for_each_other() -> None:
    numbers = torch.empty(2, dtype=torch.int64, device="meta")
    with RepeatedOps():
        dtypes = [(numbers + addend).dtype for addend in (1, 1.0, True)]
        shapes = [
            (numbers + torch.empty(size, 2, device="meta")).shape[0] for size in (1, 3)
        ]
    assert dtypes == [torch.int64, torch.float32, torch.int64]
    assert shapes == [1, 3]


def test_what_has_a_content_keeps_it() -> None:
    with RepeatedOps():
        sums = [
            (torch.tensor([number]) + torch.tensor([1])).item() for number in (1, 2)
        ]
    assert sums == [2, 3]


def test_an_error_is_raised_each_time() -> None:
    with RepeatedOps():
        for _ in range(2):
            with pytest.raises(RuntimeError, match="broadcast"):
                X + torch.empty(5, device="meta")


def test_gradients_are_derived_as_before() -> None:
    weight = torch.empty(4, 4, device="meta", requires_grad=True)
    with RepeatedOps():
        hidden = functional.gelu(functional.linear(X, weight, weight[0]))
        hidden = functional.gelu(functional.linear(hidden, weight, weight[0]))
    assert hidden.requires_grad
    hidden.sum().backward()
    assert weight.grad is not None and weight.grad.shape == (4, 4)
