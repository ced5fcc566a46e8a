"""CLIP's shipped specs at full size: the released parameters, and random checkpoints there and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file

import mplug2
from modules.torchvision_guard import ensure_torchvision
from mplug2.build.convert import export_file, import_file
from mplug2.weights.files import read_released

if TYPE_CHECKING:
    from transformers import CLIPConfig

ensure_torchvision()

ROOT = Path(__file__).resolve().parents[3]
FULL = {
    "clip_b32": "ViT-B/32",
    "clip_b16": "ViT-B/16",
    "clip_l14": "ViT-L/14",
    "clip_l14_336": "ViT-L/14@336px",
}


def full_layout(name: str, shared: Path) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """The recorded numbers of a released size, and all its keys with their shapes, in OpenAI's names."""
    entry = json.loads((shared / "reference/parity/clip/key_layout.json").read_text())[
        FULL[name]
    ]
    shapes = {}
    for pattern, (count, shape) in entry["keys"].items():
        for index in range(count):
            shapes[pattern.replace("{i}", str(index))] = shape
    return entry, shapes


@pytest.mark.parametrize("name", FULL)
def test_a_shipped_spec_has_the_released_parameters(name: str, shared: Path) -> None:
    entry, shapes = full_layout(name, shared)
    net = mplug2.compose(
        ROOT / f"configs_image/{name}.yaml", device="meta", initial=False
    )
    assert len(shapes) == entry["n_keys"]
    assert sum(parameter.numel() for parameter in net.parameters()) == entry["n_params"]
    vision = [net.get_submodule(module) for module in ("vision", "vision_proj")]
    count = sum(
        parameter.numel() for module in vision for parameter in module.parameters()
    )
    assert count == entry["n_params_visual"]


def hugging_face_shapes(
    name: str, spec: Any
) -> tuple[CLIPConfig, dict[str, list[int]]]:
    """The configuration and the keys with shapes that transformers has for the sizes of a spec."""
    towers = {}
    for tower in ("vision", "text"):
        arguments = spec.modules[tower].arguments
        towers[f"{tower}_config"] = {
            "hidden_size": arguments["width"],
            "intermediate_size": 4 * arguments["width"],
            "num_hidden_layers": arguments["depth"],
            "num_attention_heads": arguments["width"] // 64,
        }
    towers["vision_config"] |= {
        "patch_size": spec.modules["vision"].arguments["patch"],
        "image_size": spec.modules["vision"].arguments["size"],
    }
    # here, since it takes seconds, and every test process imports this file
    from transformers import CLIPConfig, CLIPModel

    config = CLIPConfig(
        **towers, projection_dim=spec.modules["text_proj"].arguments["width"]
    )
    with torch.device("meta"):
        model = CLIPModel(config)
    return config, {key: list(value.shape) for key, value in model.state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["openai", "open_clip", "hugging_face"])
@pytest.mark.parametrize("name", FULL)
def test_a_full_size_checkpoint_goes_there_and_back(
    name: str, form: str, shared: Path, tmp_path: Path
) -> None:
    """Random weights, in float16 where OpenAI's archives have it: same keys, types and bits."""
    spec = ROOT / f"configs_image/{name}.yaml"
    _, shapes = full_layout(name, shared)
    if form == "hugging_face":
        config, shapes = hugging_face_shapes(name, mplug2.read_spec(spec))
    torch.manual_seed(3)
    original = {}
    for key, shape in shapes.items():
        is_half = len(shape) >= 2 and "embedding" not in key
        original[key] = torch.randn(shape).to(
            torch.float16 if is_half else torch.float32
        )
    source = tmp_path / form
    if form == "openai":
        torch.save(original, source)
        file = source
    else:
        source.mkdir()
        file = source / (
            "model.safetensors"
            if form == "hugging_face"
            else "open_clip_model.safetensors"
        )
        save_file(original, file)
    if form == "hugging_face":
        config.save_pretrained(source)
    elif form == "open_clip":
        heads = mplug2.read_spec(spec).modules["text"].arguments["width"] // 64
        cfg = {"quick_gelu": True, "text_cfg": {"heads": heads}}
        cfg["vision_cfg"] = {
            "width": mplug2.read_spec(spec).modules["vision"].arguments["width"]
        }
        (source / "open_clip_config.json").write_text(json.dumps({"model_cfg": cfg}))
    import_file(source, spec, tmp_path / "ours.safetensors", "clip")
    export_file(
        tmp_path / "ours.safetensors", spec, tmp_path / "back.pt", "clip", like=source
    )
    back = read_released(tmp_path / "back.pt").tensors
    assert set(back) == set(original)
    for key, value in original.items():
        assert back[key].dtype == value.dtype and torch.equal(back[key], value), key
