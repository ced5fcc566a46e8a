"""VLMo and BEiT: the composition specs that the numbers and keys of their fixtures describe."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

Numbers = Mapping[str, Any]
TASKS = ("vqa", "nlvr2", "irtr", "textmlm")

_TEXT = """  text_embeds: text_embedding(caption)
  text: modality(text_embeds, modality=0)
"""
_IMAGE = """  image_embeds: image_embedding(image)
  image_tokens: modality(image_embeds, modality=1)
"""
_TEXT_ALONE = """  text_lower: lower(text=text)
  text_hidden: upper(text=text_lower.text)
"""
_IMAGE_ALONE = """  image_lower: lower(image=image_tokens)
  image_hidden: upper(image=image_lower.image)
"""
_ITC = """  text_features: text_proj(text_hidden.text)
  image_features: image_proj(image_hidden.image)
  itc: contrastive(image_features, text_features)
"""
_BOTH = """  lower_hidden: lower(text=text, image=image_tokens)
  fused: upper(text=lower_hidden.text, image=lower_hidden.image, expert='fused')
"""
_POOLED = """  pooled: pooler(fused.text)
"""
_PRETRAIN = """  text_fused: upper(text=text_lower.text, expert='fused')
  image_fused: upper(image=image_lower.image, expert='fused')
  text_fused_features: text_fused_proj(text_fused.text)
  image_fused_features: image_fused_proj(image_fused.image)
  itc_fused: contrastive_fused(image_fused_features, text_fused_features)
  negatives: hard_negatives(itc.vision_to_text, itc.text_to_vision, wrong_vision=wrong_image,
    wrong_text=wrong_text)
  pair_image: gather_rows(image_tokens, negatives.vision)
  pair_text: gather_rows(text, negatives.text)
  pair_lower: lower(text=pair_text, image=pair_image)
  pair_fused: upper(text=pair_lower.text, image=pair_lower.image, expert='fused')
  pair_pooled: pooler(pair_fused.text)
  match_logits: itm_head(pair_pooled)
  itm: cross_entropy(match_logits, target=negatives.label)
  masked_embeds: text_embedding(masked)
  masked_text: modality(masked_embeds, modality=0)
  masked_lower: lower(text=masked_text, image=image_tokens)
  masked_fused: upper(text=masked_lower.text, image=masked_lower.image, expert='fused')
  masked_words: select_labelled(masked_fused.text, labels)
  mlm_logits: mlm_head(masked_words.hidden)
  mlm: cross_entropy(mlm_logits, target=masked_words.labels)
  loss: weighted_sum(mlm, itc.loss, itc_fused.loss, itm, weights=[0.25, 0.5, 0.5, 1])
"""
_TEXTMLM = """  masked_words: select_labelled(text_hidden.text, labels)
  mlm_logits: mlm_head(masked_words.hidden)
  loss: cross_entropy(mlm_logits, target=masked_words.labels)
"""
_VQA = """  logits: vqa_head(pooled)
  loss: binary_cross_entropy(logits, target=target)
"""
_NLVR2 = """  second_embeds: image_embedding(second_image)
  second_tokens: modality(second_embeds, modality=2)
  second_lower: lower(text=text, image=second_tokens)
  second_fused: upper(text=second_lower.text, image=second_lower.image, expert='fused')
  second_pooled: pooler(second_fused.text)
  pair: concat_vectors(pooled, second_pooled)
  logits: pair_head(pair)
  loss: cross_entropy(logits, target=pair_label)
"""
_FLOWS = {
    "pretrain": _TEXT + _IMAGE + _TEXT_ALONE + _IMAGE_ALONE + _ITC + _BOTH + _PRETRAIN,
    "irtr": _TEXT
    + _IMAGE
    + _TEXT_ALONE
    + _IMAGE_ALONE
    + _ITC
    + "  loss: weighted_sum(itc.loss)\n",
    "textmlm": _TEXT + _TEXT_ALONE + _TEXTMLM,
    "vqa": _TEXT + _IMAGE + _BOTH + _POOLED + _VQA,
    "nlvr2": _TEXT + _IMAGE + _BOTH + _POOLED + _NLVR2,
}


def kind_of(config: Numbers) -> str:
    """Return the task of a fixture of VLMo: the one with a loss, or ``pretrain``, which has three."""
    losses = [name for name, weight in config["loss_names"].items() if weight]
    return next((name for name in losses if name in TASKS), "pretrain")


def vlmo_recipe(config: Numbers, keys: Collection[str]) -> str:
    """Return the YAML text of the network whose outputs were recorded, its parts read off the keys."""
    flow, size = _FLOWS[kind_of(config)], config["image_size"]
    inputs = {
        "image": f"image B 3 {size} {size}",
        "second_image": f"image B 3 {size} {size}",
        "caption": "text B L",
        "masked": "text B L",
        "labels": "labels B L",
        "wrong_image": "index B -> B",
        "wrong_text": "index B -> B",
        "target": "scores B classes",
        "pair_label": "labels B",
    }
    modules = {**_body(config, keys), **_heads(config)}
    used_inputs = [
        f"{name}: {kind}"
        for name, kind in inputs.items()
        if re.search(rf"\b{name}\b[,)]", flow)
    ]
    used_modules = [
        f"  {name}: {{{line}}}" for name, line in modules.items() if f" {name}(" in flow
    ]
    listed = "\n".join(used_modules)
    # Pre-training has no goal that needs the unmasked pair.
    more = ", fused: {text: fused.text}" if kind_of(config) == "pretrain" else ""
    return f"""
inputs: {{{", ".join(used_inputs)}}}
modules:
{listed}
flow:
{flow}
goals: {{train: {{loss: loss}}{more}}}
"""


def _body(config: Numbers, keys: Collection[str]) -> dict[str, str]:
    """Return the modules before the heads."""
    tiny, kind, size = config["tiny"], kind_of(config), config["image_size"]
    is_relative = "relative_position_bias_table" in keys
    absolute = "none" if is_relative else "absolute"
    first, depth, width = tiny["vlffn_start"], tiny["depth"], tiny["dim"]
    stack = (
        f"use: multiway, width: {width}, heads: {tiny['heads']}, "
        f"layer_scale: {0.1 if 'transformer.blocks.0.gamma_1' in keys else 0}, "
        f"position: {'relative' if is_relative else 'none'}, size: {size}, patch: {tiny['patch']}, "
        f"text_positions: {config['max_text_len_of_initckpt']}"
    )
    experts = "[text, image]" if kind == "textmlm" else "[text, image, fused]"
    return {
        "text_embedding": f"use: text_embedding, width: {width}, vocab_size: {config['vocab_size']}, "
        f"max_positions: {config['max_text_len']}, position: {absolute}",
        "image_embedding": f"use: image_embedding, width: {width}, size: {size}, patch: {tiny['patch']}, "
        f"position: {absolute}",
        "modality": f"use: modality_embedding, width: {width}, modalities: {3 if kind == 'nlvr2' else 2}",
        "lower": f"{stack}, depth: {first}, total: {depth}",
        "upper": f"{stack}, depth: {depth - first}, first: {first}, experts: {experts}, norm: true",
    }


def _heads(config: Numbers) -> dict[str, str]:
    width = config["tiny"]["dim"]
    projection = f"use: feature_head, width_in: {width}, width: {width}, bias: false"
    contrastive = "use: contrastive, clamp: none, learn: log_scale"
    classifier = f"use: vector_head, hidden: {2 * width}, norm: before"
    return {
        "pooler": f"use: pooler, width: {width}, dropout: 0.0",
        "text_proj": projection,
        "image_proj": projection,
        "text_fused_proj": projection,
        "image_fused_proj": projection,
        "contrastive": contrastive,
        "contrastive_fused": contrastive,
        "hard_negatives": "use: hard_negatives",
        "mlm_head": f"use: vector_head, width: {width}, classes: {config['vocab_size']}",
        "itm_head": f"use: vector_head, width: {width}, classes: 2, depth: 1",
        "vqa_head": f"{classifier}, width: {width}, classes: {config['vqav2_label_size']}",
        "pair_head": f"{classifier}, width: {2 * width}, classes: 2",
    }


def beit_recipe(config: Numbers) -> str:
    """Return the YAML text of a BEiT that classifies images or predicts masked patches."""
    width, size, patch = config["embed_dim"], config["img_size"], config["patch_size"]
    is_relative = config.get("use_rel_pos_bias") or config.get(
        "use_shared_rel_pos_bias"
    )
    masks = config["kind"] == "mim"
    pool = "patches" if config.get("use_mean_pooling") else "first"
    patches = (size // patch) ** 2
    stem = "image_embedding(image, mask=mask)" if masks else "image_embedding(image)"
    head = f"use: class_head, width: {width}, classes: {config.get('num_classes', 1)}, depth: 1, pool: {pool}, "
    head += f"norm: {'layer' if pool == 'patches' else 'none'}"
    inputs, selected, logits = "labels: labels B", "", "head(hidden.image)"
    target = "labels"
    if masks:
        inputs = f"mask: mask B {patches}, labels: labels B {1 + patches}"
        head = f"use: vector_head, width: {width}, classes: {config['vocab_size']}, depth: 1"
        selected = "  selected: select_labelled(hidden.image, labels)\n"
        logits, target = "head(selected.hidden)", "selected.labels"
    return f"""
inputs: {{image: image B 3 {size} {size}, {inputs}}}
modules:
  image_embedding: {{use: image_embedding, width: {width}, size: {size}, patch: {patch},
    position: {"absolute" if config.get("use_abs_pos_emb") else "none"}, mask_token: {str(masks).lower()}}}
  lower: {{use: multiway, width: {width}, heads: {config["num_heads"]}, depth: {config["depth"]},
    experts: [image], hidden: {int(config["mlp_ratio"] * width)},
    layer_scale: {config.get("init_values") or 0},
    position: {"relative" if is_relative else "none"}, size: {size}, patch: {patch},
    norm: {str(masks or pool == "first").lower()}}}
  head: {{{head}}}
flow:
  embeddings: {stem}
  hidden: lower(image=embeddings)
{selected}  logits: {logits}
  loss: cross_entropy(logits, target={target})
goals: {{train: {{loss: loss}}}}
"""
