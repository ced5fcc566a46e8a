"""BEiT: run the fixtures' inputs through composed networks, and compare every recorded output."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mplug2.build.compose import compose
from mplug2.network import Network
from mplug2.weights.bias_resize import CORNERS, resize_table
from mplug2.weights.export import export
from mplug2.weights.sources import load_tensors
from registry import KEY_MAPS, parse_spec
from tools.parity.fixture import Fixture, reading
from tools.parity.gradients import compare_gradients, report_unknown
from tools.parity.recipes.vlmo import beit_recipe, vlmo_recipe
from tools.parity.rows import Comparison, run_streams

Tensors = dict[str, Tensor]
TABLE = "relative_position_bias_table"


def recognizes(fixture: Fixture) -> bool:
    """Return whether a fixture was recorded from BEiT, or from what starts VLMo with it."""
    config = fixture.config
    if "cases" in config or "fine_tuned_layout" in config:
        return True
    return config.get("kind") in ("classify", "mim") and "embed_dim" in config


def compare(fixture: Fixture, rows: Comparison) -> None:
    """Compare every recorded output; UserError if the fixture cannot be read."""
    with reading(fixture.path):
        if "cases" in fixture.config:
            _resize(fixture, rows)
        elif "fine_tuned_layout" in fixture.config:
            _start_vlmo(fixture, rows)
        else:
            _network(fixture, rows)


def _resize(fixture: Fixture, rows: Comparison) -> None:
    inputs = fixture.tensors("inputs")
    for case in fixture.config["cases"]:
        name, table = case["name"], inputs[f"{case['name']}.before"]
        # Rows after those of the class token, of texts, are copied.
        texts = case["extra_rows"] - CORNERS
        image = table[: len(table) - texts]
        resized = resize_table(
            image, 2 * case["window_before"] - 1, 2 * case["window_after"] - 1
        )
        rows.close(f"{name}.after", torch.cat([resized, table[len(image) :]]))


def _start_vlmo(fixture: Fixture, rows: Comparison) -> None:
    """Load the tables of a fine-tuned BEiT over a VLMo that holds a recorded one, and write it back."""
    source = fixture.config["fine_tuned_layout"]["source"]
    inputs = fixture.tensors("inputs")
    before = inputs["vlmo_table_before"]
    window = source["img_size"] // source["patch_size"]
    texts = len(before) - (2 * window - 1) ** 2 - CORNERS
    config = {
        "loss_names": {"textmlm": 1},
        "image_size": source["img_size"],
        "vocab_size": 60,
        "vqav2_label_size": 2,
        "max_text_len": (texts - 2) // 2,
        "max_text_len_of_initckpt": (texts - 2) // 2,
        "tiny": {
            "dim": source["embed_dim"],
            "depth": source["depth"],
            "heads": source["num_heads"],
            "patch": source["patch_size"],
            "vlffn_start": source["depth"] // 2,
        },
    }
    keys = (TABLE, "transformer.blocks.0.gamma_1")
    net = compose(parse_spec(vlmo_recipe(config, keys), "textmlm.yaml"), initial=False)
    _fill(net, before)
    beit = {
        key: torch.zeros(shape)
        for key, shape in fixture.config["fine_tuned_layout"]["source_keys"].items()
    }
    load_tensors(
        net,
        "beit",
        {**beit, **{key: inputs[key] for key in inputs if key in beit}},
        origin=fixture.name,
    )
    written, _ = export(
        net, KEY_MAPS.load("vlmo"), net.state_dict(), {}, None, fixture.name
    )
    rows.close("vlmo_table_after", written[TABLE])


def _fill(net: Network, table: Tensor) -> None:
    """Put a table into a network whose other weights stay, as `vlmo:` reads it."""
    written, _ = export(
        net, KEY_MAPS.load("vlmo"), net.state_dict(), {}, None, "fresh weights"
    )
    load_tensors(net, "vlmo", {**written, TABLE: table})


def _network(fixture: Fixture, rows: Comparison) -> None:
    inputs, weights = fixture.tensors("inputs"), fixture.tensors("state_dict")
    net = compose(
        parse_spec(beit_recipe(fixture.config), "beit.yaml"), initial=False
    ).eval()
    report = load_tensors(net, "beit", weights, origin=fixture.name)
    report_unknown(net, report, rows)
    for name in sorted(set(inputs) - {"image", "labels", "bool_masked_pos"}):
        rows.miss(f"input {name}")
    batch: dict[str, Any] = {"image": inputs["image"], "labels": inputs["labels"]}
    if "bool_masked_pos" in inputs:
        batch["mask"] = inputs["bool_masked_pos"]
        # One label for each token: none for the class token and for patches that are not masked.
        masked = F.pad(batch["mask"], (1, 0))
        batch["labels"] = torch.full(masked.shape, -1).masked_scatter(
            masked, inputs["labels"]
        )
    values = _values(net, batch)
    for name, value in values.items():
        if name in rows.outputs:
            rows.close(name, value)
    compare_gradients(net, "beit", net(batch, "train")["loss"], rows)
    _shared_gradient(net, rows)


def _shared_gradient(net: Network, rows: Comparison) -> None:
    """Compare the gradient of a table that all blocks share: the sum of those of the blocks here."""
    name = f"grad.rel_pos_bias.{TABLE}"
    if name not in rows.outputs:
        return
    stack: Any = net.get_submodule("lower")
    by_block = stack.bias.image.grad.unflatten(1, (len(stack.blocks), stack.heads))
    rows.close(name, by_block.sum(dim=1))


@torch.no_grad()
def _values(net: Network, batch: dict[str, Any]) -> Tensors:
    heard: dict[str, Tensor] = {}
    stack: Any = net.get_submodule("lower")
    embedding: Any = net.get_submodule("image_embedding")
    parts = {f"block.{number}": block for number, block in enumerate(stack.blocks)}
    parts |= {"patch_embed": embedding.patch}
    for name, part in parts.items():
        part.register_forward_hook(
            lambda module, inputs, output, name=name: heard.update({name: output})
        )
    streams = run_streams(net, batch, "embeddings", "hidden", "logits", "loss")
    tokens = streams["hidden"]["image"].values
    head: Any = net.get_module("head")
    values = {
        **heard,
        "embeddings": streams["embeddings"].values,
        "norm": tokens,
        "logits": streams["logits"],
        "loss": streams["loss"].reshape(1),
    }
    if "mask" in batch:
        patches = tokens[:, 1:]
        values["logits_all"] = head(patches.flatten(0, 1)).unflatten(
            0, patches.shape[:2]
        )
    else:
        values["pooled"] = head.norm(
            tokens[:, 1:].mean(dim=1) if head.pool == "patches" else tokens[:, 0]
        )
    if stack.bias is not None:
        values["rel_pos_bias"] = stack.bias(0, stack.bias.index(0, True))[0]
    return values
