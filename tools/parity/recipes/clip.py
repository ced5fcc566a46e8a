"""CLIP: the composition spec that the numbers of a fixture describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Numbers = Mapping[str, Any]


def clip_recipe(config: Numbers) -> str:
    """Return the YAML text of a CLIP with the sizes that its official class was built with."""
    size, joint = config["image_resolution"], config["embed_dim"]
    return f"""
inputs: {{image: image B 3 {size} {size}, caption: text B L}}
modules:
  vision:
    use: image_vit
    width: {config["vision_width"]}
    depth: {config["vision_layers"]}
    heads: {config["vision_heads"]}
    patch: {config["vision_patch_size"]}
    size: {size}
  text:
    use: clip_text
    width: {config["transformer_width"]}
    depth: {config["transformer_layers"]}
    heads: {config["transformer_heads"]}
    vocab_size: {config["vocab_size"]}
    max_positions: {config["context_length"]}
  vision_proj: {{use: feature_head, width: {joint}, bias: false}}
  text_proj: {{use: end_head, width: {joint}}}
  contrastive: {{use: contrastive, clamp: none, learn: log_scale}}
flow:
  vision_hidden: vision(image)
  text_hidden: text(caption)
  image_features: vision_proj(vision_hidden)
  text_features: text_proj(text_hidden, text=caption)
  itc: contrastive(image_features, text_features)
goals:
  train: {{loss: itc.loss}}
  embed_image: {{features: image_features}}
  embed_text: {{features: text_features}}
train:
  no_decay: ["*.bias", "*norm*.weight", "*.cls", "*.log_scale"]
"""
