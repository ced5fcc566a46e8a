"""mPLUG: run the fixtures' inputs through composed networks, and compare every recorded output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from modules.boxes import among, box_errors, coordinates, cxcywh_to_xyxy, overlap
from modules.losses.contrastive import mix_soft_targets, shares
from modules.losses.text import next_token_losses
from modules.negatives import chances
from modules.streams import Sequences, Text, Tokens, full_mask
from mplug2.build.compose import compose
from mplug2.network import Network
from mplug2.weights.report import LoadReport
from mplug2.weights.sources import load_tensors
from registry import parse_spec
from tools.parity.fixture import Fixture, reading
from tools.parity.recipes.mplug import Numbers, kind_of, recipe
from tools.parity.rows import Comparison, run_streams

Tensors = dict[str, Tensor]


def recognizes(fixture: Fixture) -> bool:
    """Return whether a fixture was recorded from mPLUG; TiMix's, which are like them, mask words."""
    if not fixture.config or "mlm_probability" in fixture.config:
        return False
    return kind_of(fixture.config, fixture.meta) != ""


def compare(fixture: Fixture, rows: Comparison) -> None:
    """Compare every recorded output; UserError if the fixture cannot be read."""
    config, meta = fixture.config, fixture.meta
    inputs, weights = fixture.tensors("inputs"), fixture.tensors("state_dict")
    with reading(fixture.path):
        kind = kind_of(config, meta)
        net = compose(
            parse_spec(recipe(kind, config, meta), f"{kind}.yaml"), initial=False
        ).eval()
    if kind == "fusion":  # recorded from the fusion encoder alone
        weights = {f"fusion_encoder.{key}": value for key, value in weights.items()}
    report = load_tensors(net, "mplug", weights, origin=fixture.name)
    with torch.no_grad():
        if kind == "fusion":
            _fusion(net, inputs, meta, rows)
        elif kind == "vqa":
            _vqa(net, inputs, weights, rows)
        elif kind == "retrieval":
            _retrieval(net, inputs, config, report, rows)
        else:
            _grounding(net, inputs, meta, rows)


def _text(inputs: Tensors, name: str) -> Text:
    return Text(inputs[f"{name}_ids"], inputs[f"{name}_mask"].bool())


def _listen(module: nn.Module, heard: list[Any]) -> None:
    """Note what a module returns."""
    module.register_forward_hook(lambda module, given, returned: heard.append(returned))


def _fusion(net: Network, inputs: Tensors, meta: Numbers, rows: Comparison) -> None:
    heard: list[Tensor] = []
    layers: Any = net.get_submodule("fusion.layers")
    for layer in layers:
        _listen(layer, heard)
    batch: dict[str, Any] = {
        name: Tokens(inputs[f"{name}_embeds"], inputs[f"{name}_mask"].bool())
        for name in ("image", "text")
    }
    streams = net(batch, "predict")
    for i, value in enumerate(heard):
        rows.close(f"layer{meta['start_layer'] + i}_raw_output", value)
    rows.close("image_output", streams["image"].values)
    rows.close("text_output", streams["text"].values)


def _vqa(net: Network, inputs: Tensors, weights: Tensors, rows: Comparison) -> None:
    batch: dict[str, Any] = {
        "image": inputs["image"],
        "question": _text(inputs, "question"),
        "answer": _text(inputs, "answer"),
        "candidates": _text(inputs, "candidate"),
        "question_index": torch.repeat_interleave(
            torch.arange(len(inputs["k"])), inputs["k"]
        ),
        "answer_weight": inputs["weights"],
    }
    heard: list[Tensor] = []
    blocks: Any = net.get_submodule("vision.body.blocks")
    _listen(blocks[-1], heard)
    streams = run_streams(
        net, batch, "vision_hidden", "text_hidden", "memory", "logits", "loss"
    )
    rows.close("visual_output", streams["vision_hidden"].values)
    rows.close("image_embeds", streams["vision_hidden"].values)
    # CLIP's own output, which mPLUG never reads: the last block projected, without the final norm
    rows.close(
        "visual_output_projected",
        heard[0][:, 0] @ weights["visual_encoder.visual.proj"],
    )
    rows.close("text_embeds", streams["text_hidden"].values)
    rows.close("fused_states", streams["memory"].values)
    rows.same("fused_mask", full_mask(streams["memory"]).long())
    rows.close("decoder_logits", streams["logits"])
    losses, _ = next_token_losses(streams["logits"], batch["answer"])
    rows.close("decoder_loss_per_sequence", losses.sum(dim=1))
    rows.close("train_loss", streams["loss"].reshape(1))
    for name, goal in (("beam", "predict"), ("beam3", "more")):
        texts: Sequences = net(batch, goal)["answer"]
        for row, (ids, scores) in enumerate(zip(texts.ids, texts.scores, strict=True)):
            for rank, (words, score) in enumerate(zip(ids, scores, strict=True)):
                key = str(row) if name == "beam" else f"{row}_{rank}"
                rows.same(
                    f"{name}_ids_{key}", words[words != 0]
                )  # padded with 0, which no text holds
                rows.close(f"{name}_score_{key}", score.reshape(1))
    ranked = net(batch, "choose")
    rows.same("rank_ids", ranked["choice"])
    rows.close("rank_probs", ranked["answer"].scores)


def _retrieval(
    net: Network,
    inputs: Tensors,
    config: Numbers,
    report: LoadReport,
    rows: Comparison,
) -> None:
    batch: dict[str, Any] = {
        "image": inputs["image"],
        "caption": _text(inputs, "text"),
        "media_id": inputs["idx"],
        "wrong_image": rows.outputs["neg_image_for_text"],
        "wrong_text": rows.outputs["neg_text_for_image"],
    }
    net.update_ema()
    # A queue stores features while it is trained, as the official one always does.
    net.get_module("feature_queue").train()
    hidden = ("vision_hidden", "text_hidden", "vision_features", "text_features")
    with torch.enable_grad():
        streams = run_streams(
            net, batch, *hidden, "queue", "itc", "negatives", "match_logits", "itm"
        )
    rows.close("image_embeds", streams["vision_hidden"].values)
    rows.close("text_embeds", streams["text_hidden"].values)
    rows.close("image_feat", streams["vision_features"])
    rows.close("text_feat", streams["text_features"])
    temperature = net.get_parameter("contrast.temperature")
    _contrast(streams, batch["media_id"], temperature, config["alpha_used"], rows)
    # replayed: `itm_logits` contains them
    rows.covered |= {"neg_image_for_text", "neg_text_for_image"}
    rows.close("itm_logits", streams["match_logits"])
    rows.close("loss_itm", streams["itm"].reshape(1))
    _all_pairs(net, streams, batch["caption"].mask, rows)
    _after(net, report, rows)


def _contrast(
    streams: Mapping[str, Any],
    media: Tensor,
    temperature: Tensor,
    alpha: float,
    rows: Comparison,
) -> None:
    """Compare the contrastive loss: momentum features, targets, similarities and the weights of negatives."""
    queue, itc = streams["queue"], streams["itc"]
    count = len(media)
    rows.close("image_feat_m", queue["vision"][:count])
    rows.close("text_feat_m", queue["text"][:count])
    rows.close("sim_i2t", itc["vision_to_text"])
    rows.close("sim_t2i", itc["text_to_vision"])
    target = shares(media[:, None] == queue["group"])
    rows.close("hard_targets", target)
    same = media[:, None] == media
    directions = (("i2t", "vision", "text"), ("t2i", "text", "vision"))
    for name, source, other in directions:
        teacher = queue[source][:count] @ queue[other].T / temperature
        rows.close(f"soft_{name}", mix_soft_targets(target, teacher, alpha))
        # The weights were recorded before they are normalised, which does not change a draw.
        recorded = rows.outputs[f"weights_{name}"]
        rows.covered.add(f"weights_{name}")
        weights = chances(itc[f"{source}_to_{other}"], same)
        rows.close(
            f"weights_{name}", weights, recorded / recorded.sum(dim=1, keepdim=True)
        )
    rows.close("loss_ita", itc["loss"].reshape(1))


def _all_pairs(
    net: Network, streams: Mapping[str, Any], mask: Tensor | None, rows: Comparison
) -> None:
    """Compare the matching scores of every image with every text."""
    count = len(streams["vision_hidden"].values)
    images, texts = torch.cartesian_prod(torch.arange(count), torch.arange(count)).T
    pairs = {
        "vision_hidden": Tokens(streams["vision_hidden"].values[images]),
        "text_hidden": Tokens(
            streams["text_hidden"].values[texts], None if mask is None else mask[texts]
        ),
    }
    rows.close("pair_itm_logits", net(pairs, "rerank")["score"])


def _after(net: Network, report: LoadReport, rows: Comparison) -> None:
    """What one step leaves behind: queues and momentum copies."""
    bank = net.get_module("feature_queue")
    for name, buffer in (("image_queue", "vision"), ("text_queue", "text")):
        rows.close(f"after::{name}", bank.get_buffer(buffer).T)
    rows.same("after::idx_queue", bank.get_buffer("group"))
    rows.same("after::queue_ptr", bank.get_buffer("pointer"))
    targets = {row.source: row.target for row in report.of("loaded", "resized", "tied")}
    shadow = net.ema_state_dict()
    for name in [
        name
        for name in rows.outputs
        if name.startswith("after::") and name not in rows.covered
    ]:
        key = name.removeprefix("after::")
        if key.startswith("fusion_encoder_m."):
            # the released copy of the fusion layers never moves, and nothing reads it: none is kept here
            rows.covered.add(name)
        else:
            rows.close(name, shadow[targets[key]])


def _grounding(net: Network, inputs: Tensors, meta: Numbers, rows: Comparison) -> None:
    prefix = meta["prefix_id"]
    bins = meta["last_target_id"] - prefix
    box = cxcywh_to_xyxy(inputs["targets"])
    batch = {"image": inputs["image"], "phrase": _text(inputs, "text"), "box": box}
    streams = run_streams(
        net,
        batch,
        "target",
        "logits",
        "memory",
        "loss",
        "released",
        "box_sequence",
        "predicted_box",
    )
    rows.same("target_token_ids", streams["target"].ids[:, 1:])
    rows.close("train_logits_masked", among(streams["logits"], bins, prefix))
    ce, l1, far = box_errors(streams["logits"], streams["target"], box, bins, prefix)
    rows.close("token_ce", ce)
    rows.close("weight_l1", l1)
    rows.close("weight_giou", far)
    rows.close("loss_elementwise_intended", streams["loss"].reshape(1))
    rows.close("loss_seq", streams["released"].reshape(1))
    rows.close("loss_broadcast_recomputed", streams["released"].reshape(1))
    guess = among(streams["logits"][:, :-1], bins, prefix).argmax(dim=-1) + prefix + 1
    rows.close("teacher_forced_box", coordinates(guess, bins, prefix))
    decoder: Any = net.get_module("decoder")
    start = torch.full((len(box), 1, 1), prefix)
    first = decoder.decode(start, decoder.init_cache(streams["memory"]))[:, 0, 0]
    rows.close("first_step_logits", among(first, bins, prefix))
    rows.close(
        "pred_box", coordinates(streams["box_sequence"].ids[:, 0, 1:], bins, prefix)
    )
    rows.close("pred_iou", overlap(streams["predicted_box"], box)[0])
