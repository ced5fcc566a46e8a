"""Parameter groups by pattern."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from mplug2.build.compose import compose
from mplug2.train.optim import build_optimizer, group_names, parameter_groups
from registry.errors import UserError
from registry.language.patterns import select
from registry.language.schema import with_defaults


def net() -> nn.Module:
    return nn.ModuleDict(
        {
            "vision": nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)),
            "text": nn.ModuleDict({"norm": nn.LayerNorm(2), "fc": nn.Linear(2, 2)}),
        }
    )


def settings(**given: Any) -> dict[str, Any]:
    return with_defaults("train", given)


def names_by_group(
    network: nn.Module, **given: Any
) -> dict[tuple[float, float], set[str]]:
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = parameter_groups(network, settings(**given))
    return {
        (g["lr"], g["weight_decay"]): {names[id(p)] for p in g["params"]}
        for g in groups
    }


def test_rates_and_decay_make_the_groups() -> None:
    groups = names_by_group(
        net(),
        lr={"default": 2e-5, "vision": 2e-6},
        weight_decay=0.02,
        no_decay=["*bias", "*norm*"],
    )
    assert groups == {
        (2e-6, 0.02): {"vision.0.weight", "vision.1.weight"},
        (2e-6, 0.0): {"vision.0.bias", "vision.1.bias"},
        (2e-5, 0.02): {"text.fc.weight"},
        (2e-5, 0.0): {"text.fc.bias", "text.norm.weight", "text.norm.bias"},
    }


def test_the_most_specific_pattern_gives_the_rate() -> None:
    rates = {"a.x": 4.0, "default": 1.0, "a": 2.0, "*.y": 3.0}
    assert group_names(["a.x", "a.y", "b.x"], rates) == {
        "a.x": "a.x",
        "a.y": "*.y",
        "b.x": "default",
    }
    assert group_names(["a.x", "b.x"], {"!a": 1.0, "a": 2.0}) == {
        "a.x": "a",
        "b.x": "!a",
    }


def test_a_module_name_means_the_whole_word() -> None:
    assert group_names(["text.w", "text_head.w"], {"default": 1.0, "text": 2.0}) == {
        "text.w": "text",
        "text_head.w": "default",
    }


def test_frozen_parameters_are_left_out() -> None:
    network = net()
    network["vision"].requires_grad_(False)
    groups = names_by_group(network, lr={"default": 1e-3, "vision": 1e-4})
    assert set.union(*groups.values()) == {
        "text.norm.weight",
        "text.norm.bias",
        "text.fc.weight",
        "text.fc.bias",
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"lr": {"default": 1e-3, "visoin": 1e-4}},
            r"train.lr: pattern 'visoin' must match .*did you mean 'vision'",
        ),
        (
            {"lr": {"vision": 1e-4}},
            r"train.lr: parameter 'text.norm.weight' is in no group. Add `default",
        ),
        (
            {"no_decay": ["*bias", "*.gamma"]},
            r"train.no_decay: pattern '\*.gamma' must match .* vision, text",
        ),
    ],
)
def test_a_pattern_without_a_match_is_refused(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        parameter_groups(net(), settings(**given))


def test_a_network_without_anything_to_train_is_refused() -> None:
    with pytest.raises(UserError, match="no parameter to train"):
        parameter_groups(net().requires_grad_(False), settings())


def test_groups_have_the_names_of_their_patterns() -> None:
    groups = parameter_groups(net(), settings(lr={"default": 2e-5, "vision": 2e-5}))
    assert {group["name"]: group["param_names"] for group in groups} == {
        "vision": ["vision.0.weight", "vision.1.weight"],
        "vision, no decay": ["vision.0.bias", "vision.1.bias"],
        "default": ["text.fc.weight"],
        "default, no decay": ["text.norm.weight", "text.norm.bias", "text.fc.bias"],
    }


def test_a_frozen_parameter_needs_no_group() -> None:
    network = net()
    network["text"].requires_grad_(False)
    groups = parameter_groups(network, settings(lr={"vision": 1e-4}))
    assert [group["name"] for group in groups] == ["vision", "vision, no decay"]


def test_the_optimizer_takes_the_settings() -> None:
    optimizer = build_optimizer(net(), settings(betas=[0.8, 0.9], eps=1e-6))
    assert all(
        group["betas"] == (0.8, 0.9) and group["eps"] == 1e-6
        for group in optimizer.param_groups
    )


@pytest.mark.parametrize(
    "spec",
    [
        "configs_image/retrieval_shapes_tiny.yaml",
        "configs_video/VideoQA_shapes_tiny.yaml",
    ],
)
def test_what_is_added_to_activations_does_not_decay_by_default(spec: str) -> None:
    composed = compose(spec, device="meta", initial=False)
    names = [name for name, _ in composed.named_parameters()]
    exempt = select(composed.spec.train["no_decay"], names)
    decaying = {name.split(".")[-1] for name in names if name not in exempt}
    assert "vision.stem.cls" in exempt or "vision.body.stem.cls" in exempt
    assert not decaying & {"cls", "position", "latents", "temperature", "bias"}
