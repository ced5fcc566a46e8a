"""Few rows take another way to the same result."""

import pytest
import torch
from torch.nn import functional as F

from modules.linear import Linear, Packs, linear, packing


@pytest.mark.parametrize(
    "shape", [(7, 6), (8, 6), (2, 4, 6), (4, 8, 6), (33, 6), (3, 11, 6), (0, 6), (6,)]
)
def test_any_number_of_rows_is_multiplied_alike(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x, layer = torch.randn(shape), Linear(6, 5)
    expected = F.linear(x, layer.weight, layer.bias)
    with torch.no_grad():
        found = linear(x, layer.weight, layer.bias)
    assert found.shape == expected.shape and found.is_contiguous()
    torch.testing.assert_close(found, expected.detach())
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("shape", [(2, 6), (3, 6), (2, 5, 6), (64, 6), (65, 6)])
def test_packed_weights_multiply_alike_and_are_kept(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x, layer = torch.randn(shape), Linear(6, 5)
    packs: Packs = {}
    expected = layer(x).detach()
    with torch.no_grad(), packing(packs):
        found, again = layer(x), layer(x + 1)
    assert found.shape == expected.shape and found.is_contiguous()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(again, layer(x + 1).detach())
    rows = x.numel() // 6
    assert list(packs) == ([layer.weight] if 3 <= rows <= 64 else [])


def test_nothing_is_packed_with_gradient_or_in_other_types_or_after() -> None:
    x, layer = torch.randn(10, 6), Linear(6, 5)
    packs: Packs = {}
    with packing(packs):
        layer(x).sum().backward()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            layer(x)
        with torch.no_grad():
            layer.double()(x.double())
    with torch.no_grad():
        layer.float()(x)
    assert layer.weight.grad is not None and not packs
