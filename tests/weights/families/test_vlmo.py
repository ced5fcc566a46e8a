"""Released VLMo checkpoints and BEiT: every key accounted for, other resolutions, both ways."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from quick import mostly_slow
from torch import Tensor

import mplug2
from mplug2.network import Network
from mplug2.weights.bound_map import BoundMap
from mplug2.weights.export import Original, export
from mplug2.weights.families import beit, vlmo
from mplug2.weights.files import Released, read_released
from mplug2.weights.keymap import KeyMap
from mplug2.weights.load import load_mapped
from registry import UserError, parse_spec, read_spec
from tools.parity.recipes.vlmo import beit_recipe, vlmo_recipe

ROOT = Path(__file__).resolve().parents[3]
SIZES = {
    "base": "vlmo_base_patch16",
    "base_plus": "vlmo_base_plus_patch16",
    "large": "vlmo_large_patch16",
}
# Depth, the first block with fused experts, heads.
STACKS = {"base": (12, 10, 12), "base_plus": (24, 21, 16), "large": (24, 21, 16)}
WORDS = 30522
PRETRAIN = {"mlm": 1, "itc": 1, "itm": 1}
RELATIVE = ("relative_position_bias_table", "transformer.blocks.0.gamma_1")


@lru_cache
def layouts(shared: Path, family: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(
        (shared / f"reference/parity/{family}/key_layout.json").read_text()
    )
    return content


def shapes(entries: dict[str, Any]) -> dict[str, list[int]]:
    """Return all keys of a layout with their shapes."""
    return {
        pattern.replace("{i}", str(index + first(pattern, entries))): shape
        for pattern, (count, shape) in entries.items()
        for index in range(count)
    }


def first(pattern: str, entries: dict[str, Any]) -> int:
    """Return the number of the first block that has a key: fused experts are in the last blocks."""
    if "_vl." not in pattern:
        return 0
    depth: int = entries["transformer.blocks.{i}.norm1.weight"][0]
    return depth - entries[pattern][0]


def config(
    size: str, width: int, words: int, losses: dict[str, int], image: int = 224
) -> dict[str, Any]:
    depth, start, heads = STACKS[size]
    return {
        "loss_names": losses,
        "image_size": image,
        "vocab_size": words,
        "vqav2_label_size": 11,
        "max_text_len": 196 if "textmlm" in losses else 40,
        "max_text_len_of_initckpt": 196,
        "tiny": {
            "dim": width,
            "depth": depth,
            "heads": heads,
            "patch": 16,
            "vlffn_start": start,
        },
    }


def network(
    numbers: dict[str, Any], relative: bool = True, device: str = "cpu"
) -> Network:
    spec = parse_spec(vlmo_recipe(numbers, RELATIVE if relative else ()), "vlmo.yaml")
    return mplug2.compose(spec, device=device, initial=False)


def reduced(shape: list[int], width: int, divisor: int) -> list[int]:
    """Return a shape at a fraction of the width; tables of positions keep theirs."""
    widths = (width, 3 * width, 4 * width)
    return [n // divisor if n in widths else 50 if n == WORDS else n for n in shape]


def random(
    layout: dict[str, list[int]], seed: int, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for key, shape in layout.items():
        is_integer = key.endswith(("position_ids", "relative_position_index"))
        value = (
            torch.arange(shape[-1]).expand(shape)
            if is_integer
            else torch.randn(shape, generator=generator)
        )
        tensors[key] = value.clone() if is_integer else value.to(dtype)
    return tensors


def accounted(net: Network, key_map: KeyMap, tensors: dict[str, Tensor]) -> Any:
    """Load a checkpoint; every key of it and every weight of the network is in the report."""
    report = load_mapped(net, key_map, Released("in.pth", tensors))
    assert {row.source for row in report.rows if row.source} == set(tensors)
    return report


def written(
    net: Network, key_map: KeyMap, original: dict[str, Tensor] | None
) -> dict[str, Tensor]:
    source = None if original is None else Original.of(Released("in.pth", original))
    return export(net, key_map, net.state_dict(), {}, source, "out.pth")[0]


def assert_same(back: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
    assert list(back) == list(tensors)
    for key, value in tensors.items():
        assert back[key].dtype == value.dtype, key
        assert torch.equal(back[key], value), key


def fitted(net: Network, key_map: KeyMap, layout: dict[str, list[int]]) -> set[str]:
    """Compare the shape of every key with that of its weight here; return the keys without one."""
    bound = BoundMap(key_map, net, {key: tuple(shape) for key, shape in layout.items()})
    mappings, unmapped = bound.read(layout)
    weights = net.state_dict()
    for mapping in mappings:
        assert not mapping.missing
        # One number in storage, whatever the shape.
        stored = [torch.zeros(()).expand(layout[key]) for key in mapping.released]
        for name, tensor in zip(
            mapping.ours,
            mapping.row.transform.read(stored, mapping.values),
            strict=True,
        ):
            assert tensor.shape == weights[name].shape, name
    assert sum(len(mapping.released) for mapping in mappings) + len(unmapped) == len(
        layout
    )
    return {entry.name for entry in unmapped}


@pytest.mark.parametrize("size", SIZES)
def test_every_released_parameter_has_its_place(size: str, shared: Path) -> None:
    """Sizes as recorded, but for constants and the table of positions that relative networks never read."""
    layout = shapes(layouts(shared, "vlmo")[SIZES[size]])
    width = layout["transformer.cls_token"][-1]
    net = network(
        config(size, width, WORDS, PRETRAIN),
        "relative_position_bias_table" in layout,
        "meta",
    )
    dropped = fitted(net, vlmo.KEY_MAP, layout)
    unread = {"text_embeddings.position_ids"}
    if size != "base_plus":
        unread.add("text_embeddings.position_embeddings.weight")
    assert dropped == unread
    expected = sum(
        torch.Size(shape).numel() for key, shape in layout.items() if key not in unread
    )
    assert sum(parameter.numel() for parameter in net.parameters()) == expected


# The large one has nothing that these do not have; at full size all three are slow tests.
DTYPES = {"base": torch.float16, "base_plus": torch.bfloat16}


@pytest.mark.parametrize("size", mostly_slow(DTYPES, ["base"]))
def test_there_and_back_at_a_small_width(size: str, shared: Path) -> None:
    full = shapes(layouts(shared, "vlmo")[SIZES[size]])
    width = full["transformer.cls_token"][-1]
    divisor = 17 if size == "base_plus" else 16  # of its width, 544
    layout = {key: reduced(shape, width, divisor) for key, shape in full.items()}
    assert_there_and_back(size, width // divisor, 50, layout, DTYPES[size])


def assert_there_and_back(
    size: str, width: int, words: int, layout: dict[str, list[int]], dtype: torch.dtype
) -> None:
    tensors = random(layout, 3, dtype)
    net = network(config(size, width, words, PRETRAIN), size != "base_plus")
    accounted(net, vlmo.KEY_MAP, tensors)
    assert_same(written(net, vlmo.KEY_MAP, tensors), tensors)
    again = network(config(size, width, words, PRETRAIN), size != "base_plus")
    accounted(again, vlmo.KEY_MAP, written(net, vlmo.KEY_MAP, None))
    for name, value in net.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_there_and_back_at_full_size(size: str, shared: Path) -> None:
    layout = shapes(layouts(shared, "vlmo")[SIZES[size]])
    assert_there_and_back(
        size, layout["transformer.cls_token"][-1], WORDS, layout, torch.float32
    )


def small(losses: dict[str, int], image: int = 224) -> dict[str, Any]:
    numbers = config("base", 24, 50, losses, image)
    numbers["tiny"] |= {"depth": 3, "vlffn_start": 2, "heads": 2}
    return numbers


def checkpoint(losses: dict[str, int], image: int = 224) -> dict[str, Tensor]:
    """Return a random checkpoint of a small VLMo, with the index buffers that released files have."""
    net = network(small(losses, image))
    tensors = random(
        {
            key: list(value.shape)
            for key, value in written(net, vlmo.KEY_MAP, None).items()
        },
        5,
    )
    tensors["relative_position_index"] = torch.zeros(197, 197, dtype=torch.long)
    tensors["text_imag_relative_position_index"] = torch.zeros(
        237, 237, dtype=torch.long
    )
    return tensors


@pytest.mark.parametrize("wrapper", ["state_dict", "module", "model"])
def test_every_wrapper_is_read(wrapper: str, tmp_path: Path) -> None:
    tensors = checkpoint(PRETRAIN)
    prefix = "module." if wrapper == "module" else ""
    torch.save(
        {wrapper: {prefix + key: value for key, value in tensors.items()}},
        tmp_path / "in.pth",
    )
    released = read_released(tmp_path / "in.pth")
    report = load_mapped(network(small(PRETRAIN)), vlmo.KEY_MAP, released)
    assert {row.source for row in report.rows if row.source} == set(tensors)


@pytest.mark.parametrize(
    ("losses", "fresh"),
    [({"vqa": 1}, {"vqa_head"}), ({"nlvr2": 1}, {"pair_head"}), ({"irtr": 1}, set())],
    ids=["vqa", "nlvr2", "irtr"],
)
def test_a_pretrained_checkpoint_starts_a_task_at_another_resolution(
    losses: dict[str, int], fresh: set[str]
) -> None:
    tensors = checkpoint(PRETRAIN)
    net = network(small(losses, 384))
    report = accounted(net, vlmo.KEY_MAP, tensors)
    assert {row.target.split(".")[0] for row in report.of("missing")} == fresh
    sizes = {row.source for row in report.of("resized")}
    assert "relative_position_bias_table" in sizes
    if "nlvr2" in losses:
        assert "token_type_embeddings.weight" in sizes
        table = net.state_dict()["modality.table.weight"]
        assert torch.equal(table, tensors["token_type_embeddings.weight"][[0, 1, 1]])
    texts = 2 * 196 + 2
    table = written(net, vlmo.KEY_MAP, None)["relative_position_bias_table"]
    assert len(table) == 2606
    assert torch.equal(table[-texts:], tensors["relative_position_bias_table"][-texts:])


def test_the_fused_experts_are_fresh_after_the_text_stage() -> None:
    tensors = checkpoint({"textmlm": 1})
    net = network(small(PRETRAIN))
    report = accounted(net, vlmo.KEY_MAP, tensors)
    experts = [
        row.target for row in report.of("missing") if row.target.startswith("upper.")
    ]
    assert experts
    assert all(".fused." in name for name in experts)
    assert {row.target.split(".")[0] for row in report.of("missing")} >= {
        "text_proj",
        "pooler",
        "itm_head",
    }


def test_an_absolute_table_keeps_its_own_positions_when_written_alone() -> None:
    numbers = small(PRETRAIN)
    net = network(numbers, relative=False)
    table = written(net, vlmo.KEY_MAP, None)[
        "text_embeddings.position_embeddings.weight"
    ]
    assert torch.equal(table, net.state_dict()["text_embedding.position.weight"])
    assert table.abs().sum() > 0


def test_the_text_stage_trains_what_the_release_trains(shared: Path) -> None:
    """The released rule names parts of keys; here the same weights train, and the others are in eval mode."""
    tasks = json.loads((shared / "reference/vlmo_tasks.json").read_text())
    rule = tasks["freeze_rules"]["textmlm"]
    widths = ("text_embedding", "modality", "lower", "upper", "mlm_head")
    overrides = [f"modules.{name}.width=24" for name in widths]
    spec = read_spec(ROOT / "configs_text/vlmo_textmlm_base.yaml", overrides)
    net = mplug2.compose(spec, device="meta", initial=False).train()
    parameters = dict(net.named_parameters())
    mappings, _ = BoundMap(vlmo.KEY_MAP, net, {}).write(net.state_dict())
    compared = 0
    for mapping in mappings:
        is_released = any(part in key for key in mapping.released for part in rule)
        for name in mapping.ours:
            # No text reaches the rows of the table that belong to images.
            expected = is_released and not name.endswith("bias.image")
            assert parameters[name].requires_grad == expected, name
            compared += 1
    assert compared == len(parameters)
    block: Any = net.get_submodule("lower.blocks.0")
    assert not block.attn.training
    assert not block.mlp["image"].training
    assert block.mlp["text"].training


BEIT = {
    "img_size": 224, "patch_size": 16, "embed_dim": 24, "depth": 3, "num_heads": 2, "mlp_ratio": 4,
    "init_values": 0.1, "num_classes": 5, "vocab_size": 7, "use_mean_pooling": True,
}  # fmt: skip


def beit_checkpoint(kind: str, image: int = 224) -> tuple[Network, dict[str, Tensor]]:
    numbers = {**BEIT, "kind": kind, "img_size": image}
    shared_table = kind == "mim"
    numbers["use_shared_rel_pos_bias" if shared_table else "use_rel_pos_bias"] = True
    net = mplug2.compose(parse_spec(beit_recipe(numbers), "beit.yaml"), initial=False)
    keys = {
        key: list(value.shape)
        for key, value in written(net, beit.KEY_MAP, None).items()
    }
    if shared_table:
        tables = [key for key in keys if "relative_position_bias_table" in key]
        keys["rel_pos_bias.relative_position_bias_table"] = keys[tables[0]]
        keys = {key: shape for key, shape in keys.items() if key not in tables}
    return net, random(keys, 7)


@pytest.mark.parametrize("kind", ["classify", "mim"])
def test_both_layouts_of_beit_there_and_back(kind: str) -> None:
    net, tensors = beit_checkpoint(kind)
    accounted(net, beit.KEY_MAP, tensors)
    assert_same(written(net, beit.KEY_MAP, tensors), tensors)


def test_different_tables_do_not_fit_into_the_layout_with_a_shared_one() -> None:
    net, tensors = beit_checkpoint("mim")
    load_mapped(net, beit.KEY_MAP, Released("in.pth", tensors))
    with torch.no_grad():
        net.get_parameter("lower.bias.image")[0, 0] += 1
    with pytest.raises(UserError, match="blocks have different tables"):
        written(net, beit.KEY_MAP, tensors)
    assert "blocks.0.attn.relative_position_bias_table" in written(
        net, beit.KEY_MAP, None
    )


@pytest.mark.parametrize("image", [224, 384])
@pytest.mark.parametrize("kind", ["classify", "mim"])
def test_both_layouts_of_beit_start_vlmo(kind: str, image: int) -> None:
    _, tensors = beit_checkpoint(kind)
    net = network(small({"irtr": 1}, image))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    report = accounted(net, beit.KEY_MAP, tensors)
    after = net.state_dict()
    upper = "upper.blocks.0.mlp.image.fc1.weight"
    assert torch.equal(after[upper], tensors["blocks.2.mlp.fc1.weight"])
    untouched = (
        "text_embedding.word.weight",
        "lower.bias.text",
        "lower.blocks.0.mlp.text.fc1.weight",
    )
    for name in untouched:
        assert torch.equal(after[name], before[name]), name
        assert name in {row.target for row in report.of("missing")}
    if image == 224:
        name = "rel_pos_bias" if kind == "mim" else "blocks.2.attn"
        table = tensors[f"{name}.relative_position_bias_table"]
        assert torch.equal(after["upper.bias.image"][:, :2], table)
    expected = tensors.get("norm.weight", before["upper.norm.weight"])
    assert torch.equal(after["upper.norm.weight"], expected)


@pytest.mark.parametrize(
    "name", ["beit_base_patch16_224.finetuned", "beit_large_patch16_224.selfsupervised"]
)
def test_every_key_of_the_released_sizes_of_beit_is_known(
    name: str, shared: Path
) -> None:
    entries = layouts(shared, "beit")[name]
    layout = shapes(entries["keys"])
    assert len(layout) == entries["n_keys"]
    size = "large" if "large" in name else "base"
    net = network(config(size, layout["cls_token"][-1], 50, {"irtr": 1}), device="meta")
    dropped = fitted(net, beit.KEY_MAP, layout)
    heads = ("fc_norm", "head", "lm_head", "mask_token")
    assert all(key.startswith(heads) or key.endswith("index") for key in dropped)
