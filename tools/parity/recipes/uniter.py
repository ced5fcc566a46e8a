"""UNITER: the composition specs that its fixtures' numbers describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Numbers = Mapping[str, Any]

ENCODED = """  text_embeds: text_embedding(text)
  region_embeds: region_embedding(regions)
  joint: concat(text_embeds, region_embeds)
  encoded: encoder(joint)
  hidden: split(encoded, text=text_embeds, regions=region_embeds)
"""
POOLED = "  pooled: pooler(hidden.text)\n"
MASKED = ENCODED.replace(
    "region_embedding(regions)", "region_embedding(regions, masked=region_mask)"
)


def kind_of(config: Numbers) -> str:
    """Return the model of UNITER that these numbers belong to; the empty text if they belong to none."""
    if {"lr", "warmup_steps", "num_train_steps", "betas"} <= set(config):
        return "adamw"
    if "img_dim" not in config:
        return ""
    if "img_label_dim" in config:
        return "pretrain"
    kind = str(config.get("kind", ""))
    return kind if kind in RECIPES else ""


def recipe(kind: str, config: Numbers, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return the YAML text of the network that was recorded; ``shapes`` are those of its weights."""
    return RECIPES[kind](config, shapes)


def _modules(config: Numbers, types: int) -> str:
    width, depth = config["hidden_size"], config["num_hidden_layers"]
    words = f"vocab_size: {config['vocab_size']}, max_positions: {config['max_position_embeddings']}"
    layers = (
        f"heads: {config['num_attention_heads']}, hidden: {config['intermediate_size']}"
    )
    return f"""modules:
  text_embedding: {{use: text_embedding, width: {width}, {words}, types: {types}}}
  region_embedding: {{use: region_embedding, width_in: {config["img_dim"]}, width: {width}, types: {types}}}
  encoder: {{use: text_encoder, width: {width}, depth: {depth}, {layers}}}
"""


def _spec(
    config: Numbers, inputs: str, parts: str, flow: str, goals: str, ties: str = ""
) -> str:
    types = 3 if "nlvr2" in config.get("kind", "") else config["type_vocab_size"]
    return f"""inputs: {{{inputs}}}
{_modules(config, types)}{parts}tie:
  region_embedding.kind.weight: text_embedding.kind.weight
{ties}flow:
{flow}goals: {goals}
"""


def _pretrain(config: Numbers, shapes: Mapping[str, tuple[int, ...]]) -> str:
    width, features = config["hidden_size"], config["img_dim"]
    classes = config["img_label_dim"]
    head = f"use: vector_head, width: {width}"
    inputs = (
        f"text: text B L, regions: regions B R {features}, region_mask: mask B R, word_labels: labels B L, "
        f"true_features: scores B R {features}, true_classes: scores B R {classes}, match: labels B"
    )
    parts = f"""  pooler: {{use: pooler, width: {width}}}
  mlm_head: {{{head}, classes: {config["vocab_size"]}}}
  region_regression: {{{head}, classes: {features}}}
  region_classifier: {{{head}, classes: {classes}}}
  itm_head: {{{head}, classes: 2, depth: 1}}
"""
    ties = """  mlm_head.out.weight: text_embedding.word.weight
  region_regression.out.weight: region_embedding.feature.weight.T
"""
    transport = f"beta={config['ot']['beta']}, iterations={config['ot']['iteration']}"
    flow = f"""{MASKED}{POOLED}  words: select_labelled(hidden.text, word_labels)
  word_logits: mlm_head(words.hidden)
  mlm: cross_entropy(word_logits, target=words.labels)
  masked_regions: select_masked(hidden.regions, region_mask)
  features: region_regression(masked_regions)
  feature_target: select_masked(true_features, region_mask)
  mrfr: mse_loss(features, target=feature_target)
  class_logits: region_classifier(masked_regions)
  class_target: select_masked(true_classes, region_mask)
  best: best_class(class_target, first=1)
  mrc: cross_entropy(class_logits, target=best)
  mrckl: kl_loss(class_logits, target=class_target, reduction='per_element')
  match_logits: itm_head(pooled)
  itm: cross_entropy(match_logits, target=match)
  transport: optimal_transport(hidden.text, hidden.regions, {transport})
  wra: transport_loss(transport.distance, match=match)
  itm_wra: weighted_sum(itm, wra, weights=[1, {config["itm_ot_lambda"]}])
"""
    losses = {
        "mlm": "mlm",
        "mrfr": "mrfr",
        "mrc": "mrc",
        "mrckl": "mrckl",
        "itm": "itm_wra",
    }
    goals = ", ".join(f"{goal}: {{loss: {loss}}}" for goal, loss in losses.items())
    return _spec(config, inputs, parts, flow, f"{{{goals}}}", ties)


def _answers(config: Numbers, shapes: Mapping[str, tuple[int, ...]]) -> str:
    width = config["hidden_size"]
    answers = shapes["vqa_output.3.bias"][0]
    inputs = f"text: text B L, regions: regions B R {config['img_dim']}, target: scores B {answers}"
    parts = f"""  pooler: {{use: pooler, width: {width}}}
  vqa_head: {{use: vector_head, width: {width}, hidden: {2 * width}, classes: {answers}}}
"""
    flow = f"""{ENCODED}{POOLED}  logits: vqa_head(pooled)
  loss: binary_cross_entropy(logits, target=target)
"""
    return _spec(config, inputs, parts, flow, "{train: {loss: loss}}")


def _ranking(config: Numbers, shapes: Mapping[str, tuple[int, ...]]) -> str:
    head = f"use: vector_head, width: {config['hidden_size']}, depth: 1"
    inputs = f"text: text B L, regions: regions B R {config['img_dim']}, higher: index A -> B, lower: index A -> B"
    parts = f"""  pooler: {{use: pooler, width: {config["hidden_size"]}}}
  itm_head: {{{head}, classes: 2}}
  rank_head: {{{head}, classes: 1}}
"""
    flow = f"""{ENCODED}{POOLED}  match_logits: itm_head(pooled)
  logits: rank_head(pooled)
  loss: ranking_loss(logits, higher=higher, lower=lower)
"""
    return _spec(
        config,
        inputs,
        parts,
        flow,
        "{train: {loss: loss}, match: {label: match_logits}}",
    )


def _two_images(config: Numbers, pooled: str) -> tuple[str, str]:
    """Return the inputs, and the flow up to the hidden states of both images."""
    regions = f"regions B R {config['img_dim']}"
    inputs = f"text: text B L, left: {regions}, right: {regions}, target: labels B"
    flow = "  text_embeds: text_embedding(text)\n"
    for segment, name in ((1, "left"), (2, "right")):
        flow += f"""  {name}_embeds: region_embedding({name}, segment={segment})
  {name}_joint: concat(text_embeds, {name}_embeds)
  {name}_encoded: encoder({name}_joint)
"""
        if pooled:
            flow += f"  {name}_pooled: pooler({name}_encoded)\n"
    return inputs, flow


def _paired(config: Numbers, shapes: Mapping[str, tuple[int, ...]]) -> str:
    width = config["hidden_size"]
    inputs, flow = _two_images(config, "pooler")
    parts = f"""  pooler: {{use: pooler, width: {width}}}
  nlvr2_head: {{use: vector_head, width: {2 * width}, classes: 2, depth: 1}}
"""
    flow += """  both: concat_vectors(left_pooled, right_pooled)
  logits: nlvr2_head(both)
  loss: cross_entropy(logits, target=target)
"""
    return _spec(config, inputs, parts, flow, "{train: {loss: loss}}")


def _paired_attention(config: Numbers, shapes: Mapping[str, tuple[int, ...]]) -> str:
    width, heads = config["hidden_size"], config["num_attention_heads"]
    inputs, flow = _two_images(config, "")
    parts = f"""  pooler: {{use: pooler, width: {width}}}
  pair: {{use: pair_attention, width: {width}, heads: {heads}}}
  nlvr2_head: {{use: vector_head, width: {2 * width}, classes: 2, depth: 1}}
"""
    # The released model keeps its pooler, and never calls it.
    flow += """  left_pooled: pooler(left_encoded)
  both: pair(left_encoded, right_encoded)
  logits: nlvr2_head(both)
  loss: cross_entropy(logits, target=target)
"""
    return _spec(
        config,
        inputs,
        parts,
        flow,
        "{train: {loss: loss}, pool: {vector: left_pooled}}",
    )


def _triplet(config: Numbers, shapes: Mapping[str, tuple[int, ...]]) -> str:
    width = config["hidden_size"]
    inputs, _ = _two_images(config, "")
    parts = f"""  pooler: {{use: pooler, width: {width}}}
  nlvr2_head: {{use: vector_head, width: {width}, classes: 2, depth: 1}}
"""
    flow = """  text_embeds: text_embedding(text)
  left_embeds: region_embedding(left)
  right_embeds: region_embedding(right, segment=2)
  joint: concat(text_embeds, left_embeds, right_embeds)
  encoded: encoder(joint)
  pooled: pooler(encoded)
  logits: nlvr2_head(pooled)
  loss: cross_entropy(logits, target=target)
"""
    return _spec(config, inputs, parts, flow, "{train: {loss: loss}}")


def _expressions(config: Numbers, shapes: Mapping[str, tuple[int, ...]]) -> str:
    width = config["hidden_size"]
    depth = 1 if "re_output.weight" in shapes else 2
    inputs = (
        f"text: text B L, regions: regions B R {config['img_dim']}, target: labels B"
    )
    parts = f"""  pooler: {{use: pooler, width: {width}}}
  region_head: {{use: token_scores, width: {width}, depth: {depth}}}
"""
    flow = f"""{ENCODED}{POOLED}  logits: region_head(hidden.regions)
  loss: cross_entropy(logits, target=target)
"""
    return _spec(
        config, inputs, parts, flow, "{train: {loss: loss}, pool: {vector: pooled}}"
    )


RECIPES = {
    "pretrain": _pretrain,
    "vqa": _answers,
    "ve": _answers,
    "itm_rank": _ranking,
    "re": _expressions,
    "nlvr2_paired": _paired,
    "nlvr2_paired_attn": _paired_attention,
    "nlvr2_triplet": _triplet,
}
