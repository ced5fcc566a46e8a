"""A backbone of timm by its name: its tokens, its mistakes, its weights, and specs that use it."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
import torch
from huggingface_hub import constants

import mplug2
from modules.timm_backbone import TimmBackbone
from modules.torchvision_guard import ensure_torchvision
from mplug2.build.dry_run import dry_run
from mplug2.build.smoke import smoke
from registry import SpecError, check, parse_spec

ensure_torchvision()

import timm  # noqa: E402

SPEC = """
inputs: {image: image B 3 H W, label: labels B}
modules:
  vision: {use: timm, name: test_convnext, width: 64, image_size: 64}
  head: {use: class_head, width: 64, classes: 3, pool: mean}
flow:
  hidden: vision(image)
  logits: head(hidden)
  loss: cross_entropy(logits, target=label)
goals: {train: {loss: loss}, predict: {label: logits}}
"""


def backbone(name: str, width: int, **options: Any) -> TimmBackbone:
    torch.manual_seed(0)
    return TimmBackbone(name, width, image_size=96, **options).eval()


def test_a_transformer_gives_its_class_token_first() -> None:
    module, image = backbone("test_vit", 64), torch.randn(2, 3, 96, 96)
    tokens = module(image)
    assert tokens.values.shape == (2, 1 + 36, 64) and tokens.mask is None
    assert torch.equal(tokens.values, module.body.forward_features(image))


def test_the_map_of_a_convolutional_network_is_flattened_by_rows() -> None:
    module, image = backbone("test_resnet", 96), torch.randn(2, 3, 96, 96)
    tokens, features = module(image).values, module.body.forward_features(image)
    assert tokens.shape == (2, 9, 96)
    assert torch.equal(tokens[:, 5], features[:, :, 1, 2])


def test_a_map_with_channels_last_is_flattened_too() -> None:
    name, options = (
        "swin_tiny_patch4_window7_224",
        {"embed_dim": 12, "depths": (1, 1), "num_heads": (2, 2)},
    )
    module = TimmBackbone(name, 24, image_size=56, options=options).eval()
    image = torch.randn(1, 3, 56, 56)
    tokens, features = module(image).values, module.body.forward_features(image)
    assert features.shape == (1, 7, 7, 24)
    assert torch.equal(tokens[:, 9], features[:, 1, 2])


def test_parts_of_the_head_are_left_out() -> None:
    module = backbone("test_convnext", 64)
    assert any(
        "head.norm" in key
        for key in timm.create_model("test_convnext", num_classes=0).state_dict()
    )
    assert not any("head" in key for key in module.state_dict())
    module(torch.randn(1, 3, 96, 96)).values.sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "width", "options", "message"),
    [
        ("test_vti", 64, {}, "timm has no model 'test_vti': did you mean 'test_vit'?"),
        ("qqqq", 64, {}, "timm has no model 'qqqq': `timm.list_models"),
        (
            "test_vit",
            32,
            {},
            "width must be 64, that of timm model 'test_vit', but is 32",
        ),
        (
            "test_vit",
            64,
            {"drop_path": 0.1},
            "no option 'drop_path': did you mean 'drop_path_rate'?",
        ),
        (
            "test_vit",
            64,
            {"img_size": 32},
            "'img_size' is not an option: the module sets it",
        ),
    ],
)
def test_mistakes_are_named(
    name: str, width: int, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        backbone(name, width, options=options)


def test_options_reach_the_model() -> None:
    assert len(backbone("test_vit", 64, options={"depth": 2}).body.blocks) == 2


def test_pretrained_weights_are_loaded_when_a_network_is_first_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create, asked = timm.create_model, []

    def with_known_weights(
        name: str, *, pretrained: bool = False, **arguments: Any
    ) -> Any:
        model = create(name, **arguments)
        if pretrained:
            asked.append(name)
            for parameter in model.parameters():
                torch.nn.init.constant_(parameter, 0.25)
        return model

    monkeypatch.setattr(timm, "create_model", with_known_weights)
    spec = parse_spec(
        SPEC.replace("image_size: 64", "image_size: 64, pretrained: true")
    )
    dry_run(spec)
    mplug2.compose(spec, initial=False)
    assert asked == []
    net = mplug2.compose(spec)
    assert asked == ["test_convnext"]
    assert all(
        bool((parameter == 0.25).all())
        for parameter in net.get_module("vision").parameters()
    )


def test_without_the_hub_the_message_is_located(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    text = SPEC.replace("image_size: 64", "image_size: 64, pretrained: true")
    with pytest.raises(
        SpecError, match="the pretrained weights of timm model 'test_convnext'"
    ) as caught:
        mplug2.compose(parse_spec(text))
    (problem,) = caught.value.problems
    assert (problem.place.line, problem.place.column) == (
        4,
        1 + text.splitlines()[3].index("true"),
    )


def test_a_spec_checks_and_trains() -> None:
    spec = parse_spec(SPEC)
    report = check(spec)
    assert report.problems == []
    assert str(report.types["image"]) == "image B 3 64 64"
    assert dry_run(spec).trainable > 0
    smoke(spec)
    # The width may follow from the module that reads the tokens.
    assert (
        check(
            parse_spec(SPEC.replace(" width: 64, image_size", " image_size"))
        ).problems
        == []
    )


def test_an_unknown_model_is_located_in_the_spec() -> None:
    with pytest.raises(SpecError, match="did you mean 'test_convnext'") as caught:
        dry_run(parse_spec(SPEC.replace("test_convnext", "test_covnext")))
    (problem,) = caught.value.problems
    assert problem.place.line == 4


def test_the_checks_of_names_and_sizes_do_not_import_timm() -> None:
    code = (
        "import sys, mplug2\nfrom registry import check, parse_spec\n"
        f"assert check(parse_spec({SPEC!r})).problems == []\nassert 'timm' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
