"""A transposed tie is computed from one parameter, wherever modules are copied, moved or saved."""

from __future__ import annotations

import copy

import torch
from torch import nn

from modules.ema import EMA
from modules.tying import tie_transposed


def pair() -> nn.ModuleDict:
    torch.manual_seed(0)
    net = nn.ModuleDict({"up": nn.Linear(3, 5), "down": nn.Linear(5, 3)})
    tie_transposed(net["down"], "weight", net["up"], "weight")
    return net


def test_the_gradient_of_both_uses_reaches_the_parameter() -> None:
    net, x = pair(), torch.randn(2, 3)
    net["down"](net["up"](x)).sum().backward()
    weight = net["up"].weight.detach().requires_grad_()
    hidden = x @ weight.T + net["up"].bias
    (hidden @ weight + net["down"].bias).sum().backward()
    torch.testing.assert_close(net["up"].weight.grad, weight.grad)
    assert [name for name, _ in net.named_parameters()] == [
        "up.weight",
        "up.bias",
        "down.bias",
    ]
    assert set(net.state_dict()) == {"up.weight", "up.bias", "down.bias"}
    assert isinstance(net["down"], nn.Linear)


def test_it_follows_loading_and_types() -> None:
    net = pair()
    net.load_state_dict(
        {name: torch.ones_like(value) for name, value in net.state_dict().items()}
    )
    assert torch.equal(net["down"].weight, torch.ones(3, 5))
    assert net.bfloat16()["down"].weight.dtype == torch.bfloat16
    assert net["down"](torch.ones(1, 5, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_a_copy_is_tied_to_the_copy() -> None:
    net = pair()
    copied = copy.deepcopy(net)
    with torch.no_grad():
        copied["up"].weight.zero_()
    assert not copied["down"].weight.any()
    assert net["down"].weight.any()


def test_the_average_takes_one_step_for_a_tied_weight() -> None:
    net = pair()
    plain = nn.Linear(3, 5)
    plain.weight = net["up"].weight
    ema = EMA({"down": net["down"], "plain": plain, "up": net["up"]}, decay=0.5)
    before = net["up"].weight.detach().clone()
    with torch.no_grad():
        net["up"].weight.add_(1.0)
    ema.update()
    torch.testing.assert_close(ema.modules["up"].weight, before + 0.5)
    torch.testing.assert_close(ema.modules["down"].weight, before.T + 0.5)
    torch.testing.assert_close(ema.modules["plain"].weight, before + 0.5)
