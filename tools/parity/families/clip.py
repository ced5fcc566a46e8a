"""CLIP: run the fixtures' inputs through composed networks, and compare every recorded output."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from modules.streams import Text, Tokens
from mplug2.build.compose import compose
from mplug2.network import Network
from mplug2.train.optim import build_optimizer
from mplug2.weights.export import export
from mplug2.weights.files import Released
from mplug2.weights.load import load_mapped
from registry import KEY_MAPS, parse_spec
from tools.parity.fixture import Fixture, reading
from tools.parity.gradients import MARK, compare_gradients, report_unknown
from tools.parity.recipes.clip import clip_recipe
from tools.parity.rows import Comparison, run_streams

Tensors = dict[str, Tensor]
INPUTS = {"image", "text", "prompts", "labels"}
STEP = "after_step."


def recognizes(fixture: Fixture) -> bool:
    """Return whether a fixture was recorded from CLIP, whose configuration has the sizes of both towers."""
    return {"embed_dim", "vision_patch_size", "transformer_layers"} <= set(
        fixture.config
    )


def compare(fixture: Fixture, rows: Comparison) -> None:
    """Compare every recorded output; UserError if the fixture cannot be read."""
    inputs, weights = fixture.tensors("inputs"), fixture.tensors("state_dict")
    with reading(fixture.path):
        net = compose(
            parse_spec(clip_recipe(fixture.config), "clip.yaml"), initial=False
        ).eval()
        is_zero_shot = "prompts" in inputs
        words = inputs["prompts"].flatten(0, 1) if is_zero_shot else inputs["text"]
    report = load_mapped(net, KEY_MAPS.load("clip"), _released(fixture, weights))
    report_unknown(net, report, rows)
    for name in sorted(set(inputs) - INPUTS):
        rows.miss(f"input {name}")
    batch = {"image": inputs["image"], "caption": Text(words, _until_end(words))}
    if is_zero_shot:
        _zero_shot(net, batch, inputs, rows)
    else:
        _contrastive(net, batch, fixture, rows)


def _released(fixture: Fixture, tensors: Tensors) -> Released:
    # OpenAI's files have 64 channels in each head. A fixture may have others, which no shape shows.
    heads = {
        "vision_config": {"num_attention_heads": fixture.config["vision_heads"]},
        "text_config": {"num_attention_heads": fixture.config["transformer_heads"]},
    }
    return Released(fixture.name, tensors, config=heads)


def _until_end(ids: Tensor) -> Tensor:
    """Return the mask of texts: all tokens up to the end, the first one with the highest id."""
    return torch.arange(ids.shape[1]) <= ids.argmax(dim=1, keepdim=True)


def _blocks(net: Network, batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the input of the first visual block, and the output of every block, by their recorded names."""
    values: dict[str, Tensor] = {}

    def observe(path: str, value: Any) -> None:
        number = path.rpartition(".")[2]
        if path == "vision.body.stem":
            values["visual.ln_pre"] = value.squeeze(1)  # (b, 1 frame, n, width)
        elif path == f"vision.body.blocks.{number}":
            values[f"visual.block.{number}"] = value.squeeze(1)
        elif path == f"text.blocks.{number}":
            values[f"text.block.{number}"] = value

    with torch.no_grad():
        net(batch, "train", observe)
    return values


def _embeds(
    net: Network, streams: Mapping[str, Any], caption: Text
) -> tuple[Tensor, Tensor]:
    """Return the vectors of images and texts before they are normalised, as the official methods do."""
    hidden: Tokens = streams["vision_hidden"]
    vision_proj: Any = net.get_module("vision_proj")
    text_proj: Any = net.get_module("text_proj")
    at_end = text_proj.at_end(streams["text_hidden"], caption)
    return vision_proj.linear(hidden.values[:, 0]), text_proj.linear(at_end)


def _contrastive(
    net: Network, batch: dict[str, Any], fixture: Fixture, rows: Comparison
) -> None:
    for name, value in _blocks(net, batch).items():
        rows.close(name, value)
    with torch.no_grad():
        streams = run_streams(net, batch, "vision_hidden", "text_hidden", "itc")
        images, texts = _embeds(net, streams, batch["caption"])
    itc = streams["itc"]
    labels = torch.arange(len(images))
    rows.close("visual.ln_post_cls", streams["vision_hidden"].values[:, 0])
    rows.close("text.ln_final", streams["text_hidden"].values)
    rows.close("image_embeds", images)
    rows.close("text_embeds", texts)
    rows.close("logits_per_image", itc["vision_to_text"])
    rows.close("logits_per_text", itc["text_to_vision"])
    rows.close("loss_image", F.cross_entropy(itc["vision_to_text"], labels))
    rows.close("loss_text", F.cross_entropy(itc["text_to_vision"], labels))
    loss = net(batch, "train")["loss"]
    rows.close("loss", loss.detach())
    compare_gradients(net, "clip", loss, rows)
    if any(name.startswith(STEP) for name in rows.outputs):
        _after_step(net, fixture, rows)


def _after_step(net: Network, fixture: Fixture, rows: Comparison) -> None:
    """Compare the weights after one step of AdamW.

    The step takes the recorded gradients, and ours where none is recorded; their own rows compare them. AdamW
    divides a gradient by its size: one as small as ``eps`` would enlarge its rounding error.
    """
    table = KEY_MAPS.load("clip")
    ours = {
        name: value.grad
        for name, value in net.named_parameters()
        if value.grad is not None
    }
    gradients, _ = export(net, table, ours, {}, None, "gradients")
    for name in rows.outputs:
        if name.removeprefix(MARK) in gradients and name.startswith(MARK):
            gradients[name.removeprefix(MARK)] = rows.outputs[name]
    holder = copy.deepcopy(net)
    load_mapped(holder, table, _released(fixture, gradients))
    for name, parameter in net.named_parameters():
        parameter.grad = holder.get_parameter(name).detach()
    with reading(fixture.path):
        settings = fixture.meta["optimizer"]
        rates = {
            name: settings[name] for name in ("lr", "betas", "eps", "weight_decay")
        }
    build_optimizer(net, {**net.spec.train, **rates}).step()
    weights = {name: value.detach() for name, value in net.named_parameters()}
    released, _ = export(net, table, weights, {}, None, "weights")
    for name in rows.outputs:
        if name.removeprefix(STEP) in released and name.startswith(STEP):
            rows.close(name, released[name.removeprefix(STEP)])


@torch.no_grad()
def _zero_shot(
    net: Network, batch: dict[str, Any], inputs: Tensors, rows: Comparison
) -> None:
    classes, prompts = inputs["prompts"].shape[:2]
    image_features = net({"image": batch["image"]}, "embed_image")["features"]
    text_features = net({"caption": batch["caption"]}, "embed_text")["features"]
    hidden = net({"image": batch["image"]}, ("vision_hidden",))
    text_hidden = net({"caption": batch["caption"]}, ("text_hidden",))
    images, texts = _embeds(net, {**hidden, **text_hidden}, batch["caption"])
    # (classes * prompts, joint) -> (classes, prompts, joint): the mean over prompts is normalised again
    ensembles = F.normalize(
        text_features.unflatten(0, (classes, prompts)).mean(dim=1), dim=-1
    )
    cosine = image_features @ ensembles.T
    logits = 100 * cosine  # the constant of the official notebook
    best = logits.topk(3, dim=1).indices
    hits = best == inputs["labels"][:, None]
    rows.close("prompt_embeds", texts.unflatten(0, (classes, prompts)))
    rows.close("class_weights", ensembles.T)
    rows.close("image_embeds", images)
    rows.close("image_features", image_features)
    rows.close("cosine", cosine)
    rows.close("logits_100", logits)
    rows.close(
        "logits_scale", net.get_parameter("contrastive.log_scale").exp() * cosine
    )
    rows.close("probs", logits.softmax(dim=1))
    rows.same("top1", best[:, 0])
    rows.same("top3", best)
    rows.close("accuracy_top1", 100 * hits[:, 0].float().mean())
    rows.close("accuracy_top3", 100 * hits.any(dim=1).float().mean())
