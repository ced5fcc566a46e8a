"""VLMo: run the fixtures' inputs through composed networks, and compare every recorded output."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modules.streams import Text
from mplug2.build.compose import compose
from mplug2.network import Network
from mplug2.weights.sources import load_tensors
from registry import parse_spec
from tools.parity.fixture import Fixture, reading
from tools.parity.gradients import compare_gradients, report_unknown
from tools.parity.recipes.vlmo import kind_of, vlmo_recipe
from tools.parity.rows import Comparison, run_streams

Tensors = dict[str, Tensor]
INPUTS = {
    "text_ids",
    "text_ids_mlm",
    "text_labels_mlm",
    "text_masks",
    "image",
    "image_0",
    "image_1",
}


def recognizes(fixture: Fixture) -> bool:
    """Return whether a fixture was recorded from VLMo, whose configuration names its losses."""
    return (
        "loss_names" in fixture.config and "max_text_len_of_initckpt" in fixture.config
    )


def compare(fixture: Fixture, rows: Comparison) -> None:
    """Compare every recorded output; UserError if the fixture cannot be read."""
    inputs, weights = fixture.tensors("inputs"), fixture.tensors("state_dict")
    with reading(fixture.path):
        kind = kind_of(fixture.config)
        net = compose(
            parse_spec(vlmo_recipe(fixture.config, weights), f"{kind}.yaml"),
            initial=False,
        ).eval()
        batch = _batch(inputs, rows, kind)
        batch = {
            name: value for name, value in batch.items() if name in net.spec.inputs
        }
    report = load_tensors(net, "vlmo", weights, origin=fixture.name)
    report_unknown(net, report, rows)
    for name in sorted(set(inputs) - INPUTS):
        rows.miss(f"input {name}")
    _indices(net, inputs["text_ids"].shape[1], rows)
    values = _VALUES[kind](net, batch)
    for name, value in values.items():
        if name in rows.outputs:
            rows.close(name, value)
    compare_gradients(net, "vlmo", net(batch, "train")["loss"], rows)


def _batch(inputs: Tensors, rows: Comparison, kind: str) -> dict[str, Any]:
    """Return the inputs, and what was drawn or given and recorded among the outputs."""
    mask = inputs["text_masks"].bool()
    # The text stage reads the text with masked words alone.
    words = "text_ids_mlm" if kind == "textmlm" else "text_ids"
    batch: dict[str, Any] = {
        "image": inputs.get("image", inputs.get("image_0")),
        "second_image": inputs.get("image_1"),
        "caption": Text(inputs[words], mask),
        "masked": Text(inputs["text_ids_mlm"], mask),
        "labels": inputs["text_labels_mlm"],
    }
    replayed = {
        "itm.neg_image_for_text": "wrong_image",
        "itm.neg_text_for_image": "wrong_text",
        "vqa.targets": "target",
        "nlvr2.labels": "pair_label",
        "nlvr2.targets": "pair_label",
    }
    for name, stream in replayed.items():
        if name in rows.outputs:
            batch[stream] = rows.outputs[name]
            rows.covered.add(name)  # The outputs that are computed from it contain it.
    return {name: value for name, value in batch.items() if value is not None}


def _indices(net: Network, length: int, rows: Comparison) -> None:
    bias: Any = net.get_submodule("lower").bias
    if bias is None:
        return
    for name, index in {
        "index.image": bias.index(0, True),
        "index.text": bias.index(length, False),
        "index.text_image": bias.index(length, True),
    }.items():
        if name in rows.outputs:
            rows.same(name, index)


def _block_outputs(
    net: Network, batch: dict[str, Any], stream: str
) -> tuple[list[Tensor], Any]:
    """Return the output of every block while a stream is computed, and the stream."""
    outputs: list[Tensor] = []
    stacks: list[Any] = [net.get_submodule(name) for name in ("lower", "upper")]
    hooks = []
    for block in (block for stack in stacks for block in stack.blocks):
        hooks.append(
            block.register_forward_hook(
                lambda module, inputs, output: outputs.append(output)
            )
        )
    with torch.no_grad():
        hidden = run_streams(net, batch, stream)[stream]
    for hook in hooks:
        hook.remove()
    return outputs, hidden


@torch.no_grad()
def _pretrain(net: Network, batch: dict[str, Any]) -> Tensors:
    blocks, fused = _block_outputs(net, batch, "fused")
    pooler: Any = net.get_module("pooler")
    streams = run_streams(
        net, batch, "masked_fused", "mlm", "match_logits", "itm", "itc", "itc_fused"
    )
    words = streams["masked_fused"]["text"].values
    head: Any = net.get_module("mlm_head")
    features = run_streams(net, batch, "text_fused_features", "image_fused_features")
    itc, itc_fused = streams["itc"], streams["itc_fused"]
    return {
        **{f"vl.block{number}": block for number, block in enumerate(blocks)},
        "vl.text_feats": fused["text"].values,
        "vl.image_feats": fused["image"].values,
        "vl.raw_cls_feats": fused["text"].values[:, 0],
        "vl.cls_feats": pooler(fused["text"]),
        **_single(net, batch, "text_only", "image_only"),
        "text_only.cls_vlffn_feats": features["text_fused_features"],
        "image_only.cls_vlffn_feats": features["image_fused_features"],
        "itc.i2t_logits": itc["vision_to_text"],
        "itc.t2i_logits": itc["text_to_vision"],
        "itc.i2t_vl_logits": itc_fused["vision_to_text"],
        "itc.t2i_vl_logits": itc_fused["text_to_vision"],
        "itc.loss": (itc["loss"] + itc_fused["loss"]) / 2,
        "itm.logits": streams["match_logits"],
        "itm.loss": streams["itm"],
        "mlm.logits": head(words.flatten(0, 1)).unflatten(0, words.shape[:2]),
        "mlm.loss_times_0.25": 0.25 * streams["mlm"],
    }


@torch.no_grad()
def _single(net: Network, batch: dict[str, Any], text: str, image: str) -> Tensors:
    """Return what was recorded of text alone and of images alone."""
    values = {}
    for name, modality in ((text, "text"), (image, "image")):
        blocks, hidden = _block_outputs(net, batch, f"{modality}_hidden")
        features = f"{modality}_features"
        values[f"{name}.{modality}_feats"] = hidden[modality].values
        # Recorded before the final norm, unlike that of a text with an image.
        values[f"{name}.raw_cls_feats"] = blocks[-1][:, 0]
        values[f"{name}.cls_feats"] = run_streams(net, batch, features)[features]
    return values


@torch.no_grad()
def _irtr(net: Network, batch: dict[str, Any]) -> Tensors:
    itc = run_streams(net, batch, "itc")["itc"]
    return {
        **_single(net, batch, "text_ft", "image_ft"),
        "irtr.i2t_logits": itc["vision_to_text"],
        "irtr.t2i_logits": itc["text_to_vision"],
        "irtr.loss": itc["loss"],
    }


@torch.no_grad()
def _textmlm(net: Network, batch: dict[str, Any]) -> Tensors:
    blocks, hidden = _block_outputs(net, batch, "text_hidden")
    streams = run_streams(net, batch, "loss")
    words = hidden["text"].values
    head: Any = net.get_module("mlm_head")
    return {
        "text_mlm.text_feats": words,
        "text_mlm.raw_cls_feats": blocks[-1][:, 0],
        "textmlm.logits": head(words.flatten(0, 1)).unflatten(0, words.shape[:2]),
        "textmlm.loss": streams["loss"],
    }


def _classes(task: str) -> Any:
    """Return the function for a task whose network ends in logits of classes."""

    @torch.no_grad()
    def values(net: Network, batch: dict[str, Any]) -> Tensors:
        streams = run_streams(net, batch, "logits", "loss")
        return {f"{task}.logits": streams["logits"], f"{task}.loss": streams["loss"]}

    return values


_VALUES = {
    "pretrain": _pretrain,
    "irtr": _irtr,
    "textmlm": _textmlm,
    "vqa": _classes("vqa"),
    "nlvr2": _classes("nlvr2"),
}
