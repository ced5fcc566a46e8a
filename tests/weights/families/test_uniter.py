"""`init: uniter:`: UNITER's checkpoints there and back, and tables of types that grow for image pairs."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mplug2
from mplug2.build.convert import export_file, import_file
from mplug2.network import Network
from mplug2.weights.export import Original, export
from mplug2.weights.files import Released, read_released
from mplug2.weights.load import load_mapped
from mplug2.weights.sources import load_tensors
from registry import KEY_MAPS, UserError, parse_spec
from tools.parity.recipes.uniter import recipe

Shapes = dict[str, tuple[int, ...]]
FULL = {
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16},
}
PRETRAINING = {
    "img_label_dim": 1601,
    "itm_ot_lambda": 0.1,
    "ot": {"beta": 0.5, "iteration": 50},
}
RECORDED = {"itm": "itm_rank"}  # where the layout calls a model otherwise
KINDS = (
    "pretrain",
    "vqa",
    "ve",
    "itm",
    "re",
    "nlvr2_paired",
    "nlvr2_paired_attn",
    "nlvr2_triplet",
)
TIED = {
    "cls.predictions.decoder.weight": "uniter.embeddings.word_embeddings.weight",
    "feat_regress.weight": "uniter.img_embeddings.img_linear.weight",
}
TYPES = "uniter.embeddings.token_type_embeddings.weight"


def config_of(size: str, kind: str) -> dict[str, Any]:
    """The numbers of a released model, or of a tiny one."""
    numbers = FULL.get(
        size, {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    )
    full = size in FULL
    config = {
        **numbers,
        "intermediate_size": 4 * numbers["hidden_size"],
        "vocab_size": 28996 if full else 20,
        "max_position_embeddings": 512 if full else 10,
        "type_vocab_size": 2,
        "img_dim": 2048 if full else 6,
        "kind": kind,
    }
    return config | PRETRAINING if kind == "pretrain" else config


def network(size: str, kind: str, shapes: Shapes) -> Network:
    kind = RECORDED.get(kind, kind)
    text = recipe(kind, config_of(size, kind), shapes)
    return mplug2.compose(parse_spec(text, f"{kind}.yaml"), initial=False)


@lru_cache
def recorded(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def layout(size: str, kind: str, shared: Path) -> tuple[Shapes, int]:
    """The recorded keys and shapes of a full-size model, and how many parameters it has."""
    layouts = recorded(shared / "reference/parity/uniter/key_layout.json")
    entry = layouts[f"{size}.{kind}"]
    patterns = dict(entry.get("keys", {}))
    if not patterns:
        backbone = layouts[f"{size}.pretrain"]["keys"]
        patterns = {
            key: value for key, value in backbone.items() if key.startswith("uniter.")
        }
        patterns |= entry["keys_besides_uniter"]
    shapes: Shapes = {}
    for pattern, (count, shape) in patterns.items():
        for index in range(count):
            shapes[pattern.replace("{i}", str(index))] = tuple(shape)
    assert len(shapes) == entry["n_keys"]
    return shapes, entry["n_params"]


def checkpoint(shapes: Shapes, dtype: torch.dtype) -> dict[str, Tensor]:
    """A random checkpoint; tied weights are the same tensor, as in a release."""
    generator = torch.Generator().manual_seed(0)
    tensors = {
        key: torch.randn(shape, generator=generator).to(dtype)
        for key, shape in shapes.items()
    }
    for key, owner in TIED.items():
        if key in tensors:
            tensors[key] = tensors[owner]
    return tensors


def assert_there_and_back(net: Network, tensors: dict[str, Tensor]) -> None:
    released, key_map = Released("in.pt", tensors), KEY_MAPS.load("uniter")
    report = load_mapped(net, key_map, released)
    assert not report.of("dropped", "missing", "misfit")
    back, _ = export(
        net, key_map, net.state_dict(), {}, Original.of(released), "out.pt"
    )
    assert list(back) == list(tensors)
    for key, value in tensors.items():
        assert back[key].dtype == value.dtype, key
        assert torch.equal(back[key], value), key


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", ["base", "large"])
def test_full_size_checkpoints_there_and_back(
    size: str, kind: str, shared: Path
) -> None:
    shapes, num_parameters = layout(size, kind, shared)
    net = network(size, kind, shapes)
    assert sum(parameter.numel() for parameter in net.parameters()) == num_parameters
    dtype = (torch.float16, torch.bfloat16, torch.float32)[len(kind) % 3]
    assert_there_and_back(net, checkpoint(shapes, dtype))


def tiny_shapes(kind: str, shared: Path) -> Shapes:
    """The recorded keys of a base model at the tiny sizes, with two layers."""
    sizes = {768: 8, 1536: 16, 2304: 24, 3072: 32, 2048: 6, 512: 10, 28996: 20}
    tiny: Shapes = {}
    for key, shape in layout("base", kind, shared)[0].items():
        layer = re.search(r"layer\.(\d+)", key)
        if layer is None or int(layer[1]) < 2:
            tiny[key] = tuple(sizes.get(length, length) for length in shape)
    return tiny


@pytest.mark.parametrize("kind", KINDS)
def test_checkpoints_there_and_back(kind: str, shared: Path) -> None:
    shapes = tiny_shapes(kind, shared)
    assert_there_and_back(
        network("tiny", kind, shapes), checkpoint(shapes, torch.float16)
    )


def test_files_there_and_back_in_old_names(shared: Path, tmp_path: Path) -> None:
    """A release with the names of the first BERT is read; without an original the new names are written."""
    shapes = tiny_shapes("vqa", shared)
    tensors = checkpoint(shapes, torch.float32)
    old = {}
    for key, value in tensors.items():
        key = key.replace("uniter.", "bert.", 1)
        key = key.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        )
        old[key] = value
    torch.save(old, tmp_path / "old.pt")
    spec = tmp_path / "vqa.yaml"
    spec.write_text(recipe("vqa", config_of("tiny", "vqa"), shapes))
    import_file(tmp_path / "old.pt", spec, tmp_path / "ours.safetensors", "uniter")
    (tmp_path / "old.pt").rename(tmp_path / "moved.pt")
    export_file(
        tmp_path / "ours.safetensors",
        spec,
        tmp_path / "alone.pt",
        "uniter",
        tmp_path / "moved.pt",
    )
    again = read_released(tmp_path / "alone.pt")
    assert again.wrappers == ()
    assert list(again.tensors) == list(old)
    for key, value in old.items():
        assert torch.equal(again.tensors[key], value), key


def test_a_pre_trained_table_of_types_grows_for_two_images(shared: Path) -> None:
    shapes = tiny_shapes("nlvr2_paired", shared)
    tensors = checkpoint(shapes | {TYPES: (2, 8)}, torch.float32)
    net = network("tiny", "nlvr2_paired", shapes)
    report = load_tensors(net, "uniter", tensors)
    assert [row.reason for row in report.of("resized")] == [
        "2 types to 3: copies of the last"
    ]
    kind = net.get_parameter("text_embedding.kind.weight")
    assert torch.equal(kind[:2], tensors[TYPES])
    assert torch.equal(kind[2], tensors[TYPES][1])


def test_heads_of_another_task_are_named(shared: Path) -> None:
    tensors = checkpoint(tiny_shapes("pretrain", shared), torch.float32)
    net = network("tiny", "itm", tiny_shapes("itm", shared))
    report = load_tensors(net, "uniter", tensors)
    dropped = {row.source.split(".")[0] for row in report.of("dropped")}
    assert dropped == {"cls", "feat_regress", "region_classifier"}
    assert {row.target.split(".")[0] for row in report.of("missing")} == {"rank_head"}
    with pytest.raises(UserError, match="misfit"):
        load_tensors(net, "uniter", tensors | {"itm_output.weight": torch.zeros(3, 8)})
