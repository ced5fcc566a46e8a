"""The contract of a kind of stream, for the built-in ones and for those of other packages."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modules.kinds import TorchHalf, half
from registry import KINDS, Port, read_port

ROWS = 3
FREE = 4  # size of any other free axis


def example_port(name: str) -> Port:
    """Return the port at the end of a kind's meaning: "...: tokens B L width."."""
    port = read_port(KINDS[name].meaning.rpartition(":")[2].strip(" ."))
    assert port.kind == name
    return port


def example_sizes(name: str) -> list[int]:
    """Return small sizes for the axes of a kind's example."""
    sizes = [
        axis if isinstance(axis, int) else FREE for axis in example_port(name).axes
    ]
    return [ROWS, *sizes[1:]] if sizes else []


def random_value(name: str, seed: int = 0) -> Any:
    """Return a random value of a kind."""
    generator = torch.Generator().manual_seed(seed)
    return half(name).random(example_sizes(name), generator, ROWS)


def equal(torch_half: TorchHalf, left: Any, right: Any) -> bool:
    """Return whether two values are the same."""
    pairs = list(zip(torch_half.tensors(left), torch_half.tensors(right), strict=True))
    return all(torch.equal(a, b) for a, b in pairs) if pairs else bool(left == right)


def check_blank(name: str) -> None:
    """A blank value has the declared axes and lives on the meta device."""
    torch_half, sizes = half(name), example_sizes(name)
    value = torch_half.blank(sizes, "meta")
    assert isinstance(value, torch_half.value_class)
    assert torch_half.shape(value) == sizes
    assert all(tensor.is_meta for tensor in torch_half.tensors(value))


def check_random(name: str) -> None:
    """A random value has the declared axes, and follows from the generator."""
    torch_half = half(name)
    value = random_value(name)
    assert isinstance(value, torch_half.value_class)
    assert torch_half.shape(value) == example_sizes(name)
    assert equal(torch_half, value, random_value(name))
    assert all(tensor.device.type == "cpu" for tensor in torch_half.tensors(value))


def check_describe(name: str) -> None:
    """A description contains the sizes."""
    torch_half = half(name)
    description = torch_half.describe(random_value(name))
    assert all(str(size) in description for size in example_sizes(name))


def check_cast(name: str) -> None:
    """Real values are cast to a real precision; integers and other kinds stay as they are."""
    torch_half = half(name)
    value = random_value(name)
    cast = torch_half.cast(value, torch.bfloat16)
    assert type(cast) is type(value)
    assert torch_half.shape(cast) == torch_half.shape(value)
    for before, after in zip(
        torch_half.tensors(value), torch_half.tensors(cast), strict=True
    ):
        if KINDS[name].real and before.is_floating_point():
            assert after.dtype in (torch.bfloat16, torch.float32)
        else:
            assert torch.equal(before, after)
    if KINDS[name].real:
        double = torch_half.cast(value, torch.float64)
        assert any(
            tensor.dtype == torch.float64 for tensor in torch_half.tensors(double)
        )


def check_move(name: str) -> None:
    """A moved value is of the same class, with all tensors on the device."""
    torch_half = half(name)
    value = random_value(name)
    moved = torch_half.to_device(value, "meta")
    assert type(moved) is type(value)
    assert all(tensor.is_meta for tensor in torch_half.tensors(moved))


def check_detach(name: str) -> None:
    """A detached value equals the value, and has no gradient."""
    torch_half = half(name)
    value = random_value(name)
    real = [
        tensor for tensor in torch_half.tensors(value) if tensor.is_floating_point()
    ]
    for tensor in real:
        tensor.requires_grad_()
    detached = torch_half.detach(value)
    assert equal(torch_half, value, detached)
    assert not any(tensor.requires_grad for tensor in torch_half.tensors(detached))
    assert all(tensor.requires_grad for tensor in real)


def check_rows(name: str) -> None:
    """The rows of joined values can be selected again, in any order, and gradients flow through both."""
    if not KINDS[name].has_axes:
        return
    torch_half = half(name)
    first, second = random_value(name, 0), random_value(name, 1)
    real: list[Tensor] = []
    for tensor in torch_half.tensors(first):
        if tensor.is_floating_point():
            real.append(tensor.requires_grad_())
    joined = torch_half.concat([first, second], [0, 0])
    assert torch_half.shape(joined)[0] == 2 * ROWS
    assert equal(torch_half, torch_half.select(joined, torch.arange(ROWS)), first)
    assert equal(
        torch_half, torch_half.select(joined, torch.arange(ROWS, 2 * ROWS)), second
    )
    picked = torch_half.select(joined, torch.tensor([4, 0, 4]))
    again = torch_half.select(
        torch_half.concat([second, first], [0, 0]), torch.tensor([1, 3, 1])
    )
    assert equal(torch_half, picked, again)
    totals = [
        tensor.sum() for tensor in torch_half.tensors(picked) if tensor.requires_grad
    ]
    if real:
        torch.stack(totals).sum().backward()
        assert all(tensor.grad is not None for tensor in real)


CHECKS = (
    *(check_blank, check_random, check_describe, check_cast, check_move, check_detach),
    check_rows,
)
