"""`adapt`: LoRA and DoRA on any pattern, what trains, what a checkpoint holds, and how adapters merge."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import mplug2
from modules.adapters import AdaptedLinear, adapt_linear, merge_linear
from mplug2.build.apply_adapters import merge
from mplug2.build.eject import eject
from mplug2.build.smoke import smoke
from mplug2.network import Network
from mplug2.weights.store import load_weights, save_weights
from registry import SpecError, UserError

SPEC = """
inputs: {image: image B 3 H W, text: text B L, label: labels B}
modules:
  vision: {use: image_vit, width: 32, depth: 2, heads: 2, patch: 16, size: 32}
  words: {use: text_embedding, width: 32, vocab_size: 64, max_positions: 16, dropout: 0.0}
  fusion: {use: fusion, width: 32, depth: 1, heads: 2, dropout: 0.0}
  head: {use: class_head, width: 32, classes: 3, dropout: 0.0}
flow:
  seen: vision(image)
  embeds: words(text)
  both: fusion(text=embeds, vision=seen)
  logits: head(both.text)
  loss: cross_entropy(logits, target=label)
goals: {train: {loss: loss}, predict: {label: logits}}
"""
ADAPT = "adapt: {vision: {rank: 4, alpha: 8}, fusion: {rank: 2, kind: dora}}\n"


def write(folder: Path, adapt: str = ADAPT, name: str = "adapted") -> Path:
    """Write a base with its weights, once, and a spec that starts from them; return the spec."""
    base, weights = folder / "base.yaml", folder / "base.safetensors"
    if not weights.exists():
        base.write_text(SPEC)
        torch.manual_seed(0)
        save_weights(mplug2.compose(base), weights)
    spec = folder / f"{name}.yaml"
    spec.write_text(
        f"extends: base.yaml\ninit: {{'*': 'checkpoint:{weights}'}}\n{adapt}"
    )
    return spec


def compose(spec: Path) -> Network:
    net: Network = mplug2.compose(spec)
    return net.eval()


def batch() -> dict[str, object]:
    from modules.streams import Text

    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 64, (4, 6), generator=generator)
    return {
        "image": torch.randn(4, 3, 32, 32, generator=generator),
        "text": Text(ids, torch.ones_like(ids, dtype=torch.bool)),
        "label": torch.tensor([0, 1, 2, 0]),
    }


def logits(net: Network) -> torch.Tensor:
    with torch.no_grad():
        return net(batch(), goal="predict")["label"]


def moved(net: Network) -> Network:
    """Take three steps of training."""
    trainable = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trainable, lr=1e-2)
    net.train()
    for _ in range(3):
        optimizer.zero_grad()
        net(batch(), goal="train")["loss"].backward()
        optimizer.step()
    return net.eval()


def test_adapters_change_nothing_at_first_and_train_alone(tmp_path: Path) -> None:
    net = compose(write(tmp_path))
    assert torch.allclose(
        logits(net), logits(compose(write(tmp_path, "", "plain"))), atol=1e-6
    )
    before = {name: parameter.clone() for name, parameter in net.named_parameters()}
    moved(net)
    changed = {
        name
        for name, parameter in net.named_parameters()
        if not torch.equal(parameter, before[name])
    }
    trainable = {
        name for name, parameter in net.named_parameters() if parameter.requires_grad
    }
    assert changed == trainable
    in_modules = {name for name in trainable if name.startswith(("vision.", "fusion."))}
    assert in_modules
    assert all("lora_" in name for name in in_modules)
    assert any(name.startswith("head.") for name in trainable)


def test_merged_and_adapted_networks_agree(tmp_path: Path) -> None:
    net = moved(compose(write(tmp_path)))
    adapted = logits(net)
    assert not torch.allclose(
        adapted, logits(compose(write(tmp_path, "", "plain"))), atol=1e-3
    )
    count = merge(net)
    assert count == sum(
        isinstance(part, nn.Linear)
        for name in ("vision", "fusion")
        for part in net.get_module(name).modules()
    )
    assert torch.allclose(logits(net), adapted, rtol=0, atol=1e-5)
    assert not any(isinstance(part, AdaptedLinear) for part in net.modules())
    save_weights(net, tmp_path / "merged.safetensors")
    plain = compose(tmp_path / "base.yaml")
    load_weights(plain, tmp_path / "merged.safetensors")
    assert torch.allclose(logits(plain), adapted, rtol=0, atol=1e-5)


def test_a_checkpoint_holds_what_trains_and_loads_again(tmp_path: Path) -> None:
    net = moved(compose(write(tmp_path)))
    file = tmp_path / "small.safetensors"
    save_weights(net, file)
    stored = set(load_file(file))
    trainable = {
        name for name, parameter in net.named_parameters() if parameter.requires_grad
    }
    assert trainable <= stored
    assert not any(
        name.startswith(("vision.", "fusion.")) and "lora_" not in name
        for name in stored
    )
    again: Network = mplug2.compose(
        tmp_path / "adapted.yaml", initial=False, drawn=False
    ).eval()
    load_weights(again, file)
    assert torch.equal(logits(again), logits(net))


def test_adapters_of_another_base_are_refused(tmp_path: Path) -> None:
    net = moved(compose(write(tmp_path)))
    save_weights(net, tmp_path / "small.safetensors")
    base = load_file(tmp_path / "base.safetensors")
    base = {
        name: tensor + 0.01 if tensor.ndim == 2 else tensor
        for name, tensor in base.items()
    }
    save_file(base, tmp_path / "base.safetensors")
    other = compose(tmp_path / "adapted.yaml")
    before = logits(other)
    with pytest.raises(
        UserError, match="trained on other weights than `init` gives now"
    ):
        load_weights(other, tmp_path / "small.safetensors")
    assert torch.equal(logits(other), before)


@pytest.mark.parametrize("change", ["renamed", "removed"])
def test_every_tensor_of_an_adapter_must_be_used(tmp_path: Path, change: str) -> None:
    net = compose(write(tmp_path))
    save_weights(net, tmp_path / "small.safetensors")
    tensors = load_file(tmp_path / "small.safetensors")
    name = next(name for name in tensors if name.endswith("lora_up"))
    value = tensors.pop(name)
    if change == "renamed":
        tensors[name.replace("lora_up", "lora_B")] = value
    save_file(tensors, tmp_path / "small.safetensors")
    with pytest.raises(UserError, match="does not fit this network"):
        load_weights(net, tmp_path / "small.safetensors")


def test_the_most_specific_pattern_decides_and_false_exempts(tmp_path: Path) -> None:
    text = "adapt: {'*': {rank: 2}, fusion: {rank: 3}, head: false, vision.body.stem: false}\n"
    net = compose(write(tmp_path, text))
    ranks = {
        name: part.lora_down.shape[0]
        for name, part in net.named_modules()
        if isinstance(part, AdaptedLinear)
    }
    assert set(ranks.values()) == {2, 3}
    assert {rank for name, rank in ranks.items() if name.startswith("fusion.")} == {3}
    assert not any(name.startswith("head.") for name in ranks)
    assert all(
        parameter.requires_grad for parameter in net.get_module("head").parameters()
    )
    assert not any(
        parameter.requires_grad for parameter in net.get_module("words").parameters()
    )
    stem = net.get_module("vision").get_submodule("body.stem")
    assert all(parameter.requires_grad for parameter in stem.parameters())


def test_adapters_train_in_frozen_modules(tmp_path: Path) -> None:
    text = "freeze: [vision, words, fusion]\nadapt: {'vision.body.blocks.*.attn': {rank: 2}}\n"
    net = compose(write(tmp_path, text))
    trainable = [
        name for name, parameter in net.named_parameters() if parameter.requires_grad
    ]
    assert any("lora_" in name for name in trainable)
    assert all("lora_" in name or name.startswith("head.") for name in trainable)
    save_weights(net, tmp_path / "small.safetensors")
    assert all(
        "lora_" in name or name.startswith("head.")
        for name in load_file(tmp_path / "small.safetensors")
    )


def test_weights_that_init_does_not_give_are_stored(tmp_path: Path) -> None:
    spec = write(tmp_path)
    spec.write_text(f"extends: base.yaml\n{ADAPT}")
    net = compose(spec)
    save_weights(net, tmp_path / "all.safetensors")
    assert set(load_file(tmp_path / "all.safetensors")) == set(net.state_dict())


MISTAKES = {
    "adapt: [vision]": "'adapt' must be a mapping of patterns",
    "adapt: {vision: 8}": "must be a mapping with 'rank', or false, but is 8",
    "adapt: {vision: true}": "must be a mapping with 'rank', or false, but is True",
    "adapt: {vision: {alpha: 8}}": "'rank' must be a number of at least 1 (got None)",
    "adapt: {vision: {rank: 0}}": "'rank' must be a number of at least 1 (got 0)",
    "adapt: {vision: {rank: 2, alpha: 0}}": "'alpha' must be a number above 0 (got 0)",
    "adapt: {vision: {rank: 2, kind: ia3}}": "'kind' must be one of lora, dora (got 'ia3')",
    "adapt: {vision: {rank: 2, dropout: 0.1}}": "takes the keys rank, alpha, kind (got 'dropout')",
    "adapt: {vison: {rank: 2}}": "'vison' matches nothing: there is no module 'vison'",
    "adapt: {vision.stam: {rank: 2}}": "adapt pattern 'vision.stam' must match a linear layer",
    "adapt: {vision: {rank: 64}}": "rank must be from 1 to 32, the smaller size of the weight",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_are_named_with_their_place(tmp_path: Path, text: str) -> None:
    spec = write(tmp_path, f"{text}\n")
    with pytest.raises(SpecError) as caught:
        compose(spec)
    assert MISTAKES[text] in str(caught.value)
    assert str(caught.value).startswith(f"{spec}:3:")


def test_tied_layers_are_refused(tmp_path: Path) -> None:
    names = [f"vision.body.blocks.{number}.mlp.fc1.weight" for number in range(2)]
    spec = write(tmp_path, f"tie: {{{names[1]}: {names[0]}}}\n{ADAPT}")
    with pytest.raises(
        SpecError,
        match=r"cannot be adapted: its weight is tied to vision\.body\.blocks\.1",
    ):
        compose(spec)


def test_averaged_modules_are_refused(tmp_path: Path) -> None:
    average = "momentum: {decay: 0.9}\nflow: {slow: identity(ema(logits))}\ngoals: {predict: {label: slow}}\n"
    with pytest.raises(SpecError, match="cannot be adapted: `ema"):
        compose(write(tmp_path, average + ADAPT))


def test_a_network_with_adapters_is_not_ejected(tmp_path: Path) -> None:
    spec = write(tmp_path)
    with pytest.raises(SpecError, match="a network with adapters cannot be ejected"):
        eject(mplug2.Spec.read(spec))
    assert "class" in eject(mplug2.Spec.read(spec, ["adapt="]))


def test_a_step_reaches_every_adapter(tmp_path: Path) -> None:
    assert smoke(mplug2.Spec.read(write(tmp_path))) == ""


@pytest.mark.parametrize("magnitude", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_one_layer_by_its_equation(magnitude: bool, bias: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(6, 5, bias=bias)
    weight = layer.weight.detach().clone()
    rows = torch.randn(3, 6)
    adapted = adapt_linear(layer, 2, 4.0, magnitude=magnitude)
    nn.init.normal_(adapted.lora_up)
    expected = weight + 2 * adapted.lora_up @ adapted.lora_down
    if magnitude:
        assert adapted.lora_magnitude is not None
        nn.init.uniform_(adapted.lora_magnitude, 0.5, 2)
        expected = (
            adapted.lora_magnitude[:, None]
            * expected
            / expected.norm(dim=1, keepdim=True)
        )
    product = nn.functional.linear(rows, expected, layer.bias)
    assert torch.allclose(layer(rows), product, atol=1e-5)
    merge_linear(adapted)
    assert type(layer) is nn.Linear
    assert set(dict(layer.named_parameters())) == (
        {"weight", "bias"} if bias else {"weight"}
    )
    assert torch.allclose(layer(rows), product, atol=1e-5)


def test_a_layer_has_one_adapter() -> None:
    layer = adapt_linear(nn.Linear(4, 4), 1, 1.0)
    with pytest.raises(ValueError, match="has an adapter already"):
        adapt_linear(layer, 1, 1.0)
