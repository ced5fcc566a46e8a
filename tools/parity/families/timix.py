"""TiMix: run the fixture's inputs through a composed network, and compare every recorded output."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from modules.scores import mix_rows, standardize
from modules.streams import Text
from mplug2.build.compose import compose
from mplug2.network import Network
from mplug2.weights.sources import load_tensors
from registry import parse_spec
from tools.parity.fixture import Fixture, reading
from tools.parity.gradients import report_unknown
from tools.parity.recipes.timix import timix_recipe
from tools.parity.rows import Comparison

Tensors = dict[str, Tensor]
TEXTS = ("text", "prefix", "target", "region_text")
INPUTS = {
    "image",
    "mlm_ids",
    "mlm_labels",
    "region_image",
    "region_image_index",
    "region_patch_mask",
    *(f"{name}_{part}" for name in TEXTS for part in ("ids", "mask")),
}
SMOOTHING = 0.1  # of the one-hot targets that the release computes and does not use


def recognizes(fixture: Fixture) -> bool:
    """Return whether a fixture was recorded from TiMix, whose vision tower has a patch predictor."""
    return "pruning_loc" in fixture.config.get("clip_tiny", {})


def compare(fixture: Fixture, rows: Comparison) -> None:
    """Compare every recorded output; UserError if the fixture cannot be read."""
    config = fixture.config
    inputs, weights = fixture.tensors("inputs"), fixture.tensors("state_dict")
    with reading(fixture.path):
        windows = rows.outputs["tpmix_sizes"][:, 0].tolist()
        net = compose(
            parse_spec(timix_recipe(config, windows), "pretrain.yaml"), initial=False
        ).eval()
        batch = _batch(inputs, rows)
    report = load_tensors(net, "timix", weights, origin=fixture.name)
    report_unknown(net, report, rows)
    for name in sorted(set(inputs) - INPUTS):
        rows.miss(f"input {name}")
    _update_averages(net)
    streams: dict[str, Any] = {}
    with torch.no_grad():
        net(batch, "losses", observe=streams.__setitem__)
    _pretraining(net, batch, streams, rows)
    rows.close(
        "loss_mlm",
        _masked_loss(streams, inputs["mlm_labels"], config["alpha"]).reshape(1),
    )
    _alignment(streams, batch["phrase_patches"], rows)
    for number in range(1, len(windows) + 1):
        _mixed(f"mix{number}", streams, rows)
    # The sides are replayed: `source_mask` of each mix contains them.
    rows.same("tpmix_sizes", torch.tensor([[window, window] for window in windows]))


def _batch(inputs: Tensors, rows: Comparison) -> dict[str, Any]:
    """Return the inputs, and the negatives that were drawn and recorded among the outputs."""
    texts = {
        name: Text(inputs[f"{name}_ids"], inputs[f"{name}_mask"].bool())
        for name in TEXTS
    }
    rows.covered |= {
        "neg_image_for_text",
        "neg_text_for_image",
    }  # `itm_logits` contains them
    return {
        "image": inputs["image"],
        "caption": texts["text"],
        "prefix": texts["prefix"],
        "continuation": texts["target"],
        "masked": Text(inputs["mlm_ids"], texts["text"].mask),
        "every_token": torch.zeros_like(inputs["mlm_ids"]),
        "wrong_image": rows.outputs["neg_image_for_text"],
        "wrong_text": rows.outputs["neg_text_for_image"],
        "region_image": inputs["region_image"],
        "phrase": texts["region_text"],
        "phrase_image": inputs["region_image_index"],
        "phrase_patches": inputs["region_patch_mask"][
            :, 1:
        ],  # the class token is not scored
    }


def _update_averages(net: Network) -> None:
    """Take the recorded step of the averages; those of the fusion layers and their word head never move."""
    averages = net.ema_state_dict()
    fixed = {
        name: value.clone()
        for name, value in averages.items()
        if name.startswith(("fusion.", "mlm_"))
    }
    net.update_ema()
    for name, value in fixed.items():
        averages[name].copy_(value)


def _pretraining(
    net: Network, batch: dict[str, Any], streams: dict[str, Any], rows: Comparison
) -> None:
    patches: Any = net.get_submodule("vision.body.stem.patch")
    with torch.no_grad():
        rows.close("patch_embeddings_before_cls", patches(batch["image"]))
    for ours, recorded in (
        ("vision_features", "image_feat"),
        ("text_features", "text_feat"),
    ):
        rows.close(recorded, streams[ours])
        rows.close(f"{recorded}_m", streams[f"ema({ours})"])
    rows.close("loss_ita", streams["itc"]["loss"].reshape(1))
    rows.close("itm_logits", streams["match_logits"])
    rows.close("loss_itm", streams["itm"].reshape(1))
    rows.close("loss_prefix", streams["prefix_lm"].reshape(1))
    rows.close("patch_predictor_log_probs", streams["patch_scores"])
    # The recorded log-probabilities spread over 5e-4 around -0.7, so that the last bit of one is 1e-4 of
    # its saliency: more than the tolerance. The windows below follow from our own saliency.
    rows.close(
        "salient_score",
        standardize(rows.outputs["patch_predictor_log_probs"], channel=1),
    )
    rows.close("predicted_distribution", streams["prediction"])


def _masked_loss(streams: dict[str, Any], labels: Tensor, alpha: float) -> Tensor:
    """Return the released loss of masked words, whose soft part normalizes scores over positions.

    `cross_entropy` normalizes them over the vocabulary; no released weight depends on this loss.
    """
    rows, length = labels.shape
    logits = streams["word_logits"].unflatten(0, (rows, length))
    teacher = streams["ema(word_logits)"].unflatten(0, (rows, length)).softmax(dim=-1)
    hard = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    soft = -(F.log_softmax(logits, dim=1) * teacher).sum(dim=-1)
    return (1 - alpha) * hard + alpha * soft[labels >= 0].mean()


def _alignment(streams: dict[str, Any], labels: Tensor, rows: Comparison) -> None:
    rows.close("pta_loss", streams["alignment"].reshape(1))
    predicted = streams["region_logits"].argmax(dim=-1)
    rows.close("pta_acc", (predicted == labels).float().mean().reshape(1))
    rows.close("pta_recall", (predicted * labels).sum().div(labels.sum()).reshape(1))


def _mixed(name: str, streams: dict[str, Any], rows: Comparison) -> None:
    mixed = streams[name]
    rows.same(f"{name}.source_mask", mixed["pasted"].long())
    rows.close(f"{name}.image", mixed["image"])
    rows.close(f"{name}.soft_target", streams[f"{name}_target"])
    rows.close(f"{name}.loss", streams[f"{name}_itc"]["loss"].reshape(1))
    count = len(mixed["partner"])
    smoothed = (1 - SMOOTHING) * torch.eye(count) + SMOOTHING / count
    rows.close(
        f"{name}.hard_target_smoothed",
        mix_rows(smoothed, mixed["partner"], mixed["share"]),
    )
