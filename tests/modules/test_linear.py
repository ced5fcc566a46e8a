"""Few rows take another way to the same result."""

import pytest
import torch
from torch.nn import functional as F

from modules.linear import Linear, linear


@pytest.mark.parametrize("shape", [(7, 6), (8, 6), (2, 4, 6), (4, 8, 6), (33, 6), (3, 11, 6), (0, 6), (6,)])
def test_any_number_of_rows_is_multiplied_alike(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x, layer = torch.randn(shape), Linear(6, 5)
    expected = F.linear(x, layer.weight, layer.bias)
    with torch.no_grad():
        found = linear(x, layer.weight, layer.bias)
    assert found.shape == expected.shape and found.is_contiguous()
    torch.testing.assert_close(found, expected.detach())
    torch.testing.assert_close(layer(x), expected)
