"""The shipped pre-training of mPLUG, at the sizes of TiMix's recorded run: its features and losses agree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import mplug2
from modules.streams import Text
from mplug2.network import Network
from mplug2.weights.sources import load_tensors

ROOT = Path(__file__).resolve().parents[3]
SPEC = """
extends: {root}/configs_image/pretrain_mplug_base.yaml
inputs:
  masked: text B L
  masked_labels: labels B L
  wrong_image: index B -> B
  wrong_text: index B -> B
modules:
  vision: {{width: 32, depth: 3, heads: 4, patch: 8, size: 32}}
  text_embedding: {{width: 32, vocab_size: 120, max_positions: 24}}
  text: {{width: 32, depth: 2, heads: 4, hidden: 64}}
  fusion: {{width: 32, depth: 3, heads: 4, hidden: 64, stride: 1000}}
  decoder: {{width: 32, depth: 2, heads: 4, hidden: 64, vocab_size: 120, max_positions: 24}}
  vision_proj: {{width_in: 32, width: 16}}
  text_proj: {{width_in: 32, width: 16}}
  image_queue: {{width: 16, size: 0}}
  itm_head: {{width: 32}}
  word_masking:
  mlm_head: {{width: 32, classes: 120}}
tie: {{mlm_head.out.weight: }}  # TiMix's fusion encoder has words apart from those of its text encoder
define:
  masked_lm(hidden, labels):
    return: cross_entropy(logits, target=masked.labels, teacher=ema(logits), alpha=0.4)
  pretrain(vision_hidden, @queue):
    negatives: >-
      hard_negatives(itc.vision_to_text, itc.text_to_vision, media_id, wrong_vision=wrong_image,
      wrong_text=wrong_text)
    masking:
    masked_hidden: encode_text(masked)
    mlm: masked_lm(masked_fused.text, masked_labels)
data:
eval:
train: {{best_metric: }}
"""
# Both are normalized over the vocabulary; the released loss of 4.025 normalizes the student over positions.
MASKED_LOSS = 5.206


def recorded_network(state: Mapping[str, Tensor], folder: Path) -> Network:
    """Return the network with the recorded weights, and averages one step later."""
    path = folder / "timix.yaml"
    path.write_text(SPEC.format(root=ROOT))
    net = mplug2.compose(path)
    load_tensors(net, "mplug", state)
    averages = net.ema_state_dict()
    for ours, released in (
        ("dense.weight", "transform.dense.weight"),
        ("dense.bias", "transform.dense.bias"),
        ("norm.weight", "transform.LayerNorm.weight"),
        ("norm.bias", "transform.LayerNorm.bias"),
        ("out.weight", "decoder.weight"),
        ("out.bias", "decoder.bias"),
    ):
        for weights, prefix in (
            (net.state_dict(), "fusion_encoder"),
            (averages, "fusion_encoder_m"),
        ):
            weights[f"mlm_head.{ours}"].copy_(
                state[f"{prefix}.cls.predictions.{released}"]
            )
    fixed = {}
    for name, value in averages.items():
        if name.startswith(("fusion.", "mlm_head.")):
            fixed[name] = value.clone()
    net.update_ema()
    for name, value in fixed.items():
        averages[name].copy_(
            value
        )  # the released average of the fusion layers never moves
    return net.eval()


def test_features_and_losses_are_the_recorded_ones(
    shared: Path, tmp_path: Path
) -> None:
    folder = shared / "reference" / "parity" / "timix" / "pretrain"
    inputs, outputs, state = (
        load_file(folder / f"{name}.safetensors")
        for name in ("inputs", "outputs", "state_dict")
    )
    net = recorded_network(state, tmp_path)

    def text(name: str) -> Text:
        return Text(inputs[f"{name}_ids"], inputs[f"{name}_mask"].bool())

    batch = {
        "image": inputs["image"],
        "caption": text("text"),
        "media_id": torch.arange(4),
        "prefix": text("prefix"),
        "continuation": text("target"),
        "masked": Text(inputs["mlm_ids"], inputs["text_mask"].bool()),
        "masked_labels": inputs["mlm_labels"],
        "wrong_image": outputs["neg_image_for_text"],
        "wrong_text": outputs["neg_text_for_image"],
    }
    streams: dict[str, object] = {}
    with torch.no_grad():
        losses = net(batch, goal="image", observe=streams.__setitem__)
    for ours, released in (
        ("vision_features", "image_feat"),
        ("text_features", "text_feat"),
    ):
        torch.testing.assert_close(streams[f"image_losses.{ours}"], outputs[released])
        torch.testing.assert_close(
            streams[f"ema(image_losses.{ours})"], outputs[f"{released}_m"]
        )
    torch.testing.assert_close(
        streams["image_losses.match_logits"],
        outputs["itm_logits"],
        rtol=1e-4,
        atol=1e-4,
    )
    assert float(losses["itm"]) == pytest.approx(float(outputs["loss_itm"]), abs=1e-5)
    assert float(losses["prefix_lm"]) == pytest.approx(
        float(outputs["loss_prefix"]), abs=1e-5
    )
    assert float(losses["mlm"]) == pytest.approx(MASKED_LOSS, abs=1e-3)
