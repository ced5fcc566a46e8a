"""Layer-wise decay of the learning rate, compared with factors computed by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modules.vit import ImageViT
from mplug2.train.layer_decay import layer_scales
from mplug2.train.optim import parameter_groups
from mplug2.train.schedule import named_rates
from registry.errors import UserError

SETTINGS = {"lr": 1.0, "weight_decay": 0.1, "no_decay": ["*bias", "*norm*.weight"]}


class Network(nn.Module):
    """A vision transformer of two blocks, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.vision = ImageViT(8, 2, 4, size=8, heads=2)
        self.head = nn.Linear(8, 3)


def test_factors_by_hand() -> None:
    names = [name for name, _ in Network().named_parameters()]
    scales = layer_scales(names, {"vision": 0.5})
    assert {scales[name] for name in names if ".stem." in name} == {0.125}
    assert {scales[name] for name in names if ".blocks.0." in name} == {0.25}
    assert {scales[name] for name in names if ".blocks.1." in name} == {0.5}
    assert {scales[name] for name in names if name.startswith("vision.body.norm.")} == {
        1.0
    }
    assert not any(name.startswith("head") for name in scales)
    assert layer_scales(names, {}) == {}


def test_groups_have_these_rates_and_every_parameter_once() -> None:
    net = Network()
    groups = parameter_groups(net, {**SETTINGS, "layer_decay": {"vision": 0.5}})
    rates = {name: group["lr"] for group in groups for name in group["param_names"]}
    assert set(rates) == {name for name, _ in net.named_parameters()}
    assert rates["vision.body.blocks.0.attn.qkv.weight"] == 0.25
    assert rates["vision.body.stem.position"] == 0.125
    assert rates["head.weight"] == 1.0
    assert len({group["name"] for group in groups}) == len(groups)
    rates = [group["lr"] for group in groups]
    assert named_rates(1.0, rates, [0.1 * rate for rate in rates]) == {"lr": 0.1}


def test_it_multiplies_the_rate_of_a_pattern_and_a_step_follows_it() -> None:
    net = Network()
    settings = {
        **SETTINGS,
        "lr": {"default": 1.0, "vision": 0.1},
        "layer_decay": {"vision": 0.5},
    }
    groups = parameter_groups(net, {**settings, "weight_decay": 0.0})
    before = {
        name: parameter.detach().clone() for name, parameter in net.named_parameters()
    }
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.optim.SGD(groups).step()
    moved = {
        name: (before[name] - parameter).mean().item()
        for name, parameter in net.named_parameters()
    }
    assert moved["vision.body.blocks.1.mlp.fc1.weight"] == pytest.approx(0.05, rel=1e-3)
    assert moved["vision.body.stem.position"] == pytest.approx(0.0125, rel=1e-3)
    assert moved["head.bias"] == pytest.approx(1.0, rel=1e-3)


def test_wrong_modules_are_refused() -> None:
    names = [name for name, _ in Network().named_parameters()]
    with pytest.raises(
        UserError,
        match=r"no module with parameters.*\(got 'visoin'\). Modules: vision, head",
    ):
        layer_scales(names, {"visoin": 0.5})
    with pytest.raises(UserError, match=r"must have numbered layers \(got 'head'\)"):
        layer_scales(names, {"head": 0.5})
