"""mPLUG: the composition specs that its fixtures' numbers describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Numbers = Mapping[str, Any]

_SEEN = """  patches: vision(image)
"""
_PROJECTED = """  patches: vision(image)
  visual: to_text(patches)
"""
_READ = """  spoken: words(question)
  asked: text(spoken)
"""
_BOTH = """  both: fusion(text=asked, vision=visual)
  memory: concat(both.vision, both.text)
"""


def kind_of(config: Numbers, meta: Numbers) -> str:
    """Return the fixture of mPLUG that these numbers belong to; the empty text if they belong to none."""
    marks = {"retrieval": "queue_size", "vqa": "rank_k", "grounding": "prefix_id", "fusion": "stride_layer"}
    for kind, mark in marks.items():
        if mark in {**config, **meta}:
            return kind
    return ""


def recipe(kind: str, config: Numbers, meta: Numbers) -> str:
    """The YAML text of the network whose outputs were recorded."""
    return {"fusion": _fusion, "vqa": _vqa, "retrieval": _retrieval, "grounding": _grounding}[kind](
        config, meta
    )


def _common(bert: Numbers) -> str:
    heads, hidden = bert["num_attention_heads"], bert["intermediate_size"]
    return f"width: {bert['hidden_size']}, heads: {heads}, hidden: {hidden}"


def _fused(bert: Numbers) -> str:
    depth, stride = bert["fusion_layers"], bert["stride_layer"]
    return f"  fusion: {{use: fusion, {_common(bert)}, depth: {depth}, stride: {stride}}}\n"


def _modules(config: Numbers, text_depth: int, decoder: bool) -> str:
    bert, clip = config["bert"], config["clip_tiny"]
    width, wide = bert["hidden_size"], config["vision_width"]
    words = f"vocab: {bert['vocab_size']}, positions: {bert['max_position_embeddings']}"
    lines = [
        "modules:",
        f"  vision: {{use: image_vit, width: {wide}, heads: {clip['heads']}, depth: {clip['layers']}, "
        f"patch: {clip['patch']}, size: {clip['image_res']}}}",
        f"  words: {{use: text_embedding, width: {width}, {words}}}",
        f"  text: {{use: text_encoder, {_common(bert)}, depth: {text_depth}}}",
    ]
    if wide != width:
        lines.append(f"  to_text: {{use: project, width_in: {wide}, width: {width}}}")
    if decoder:
        depth = bert["text_decode_layers"]
        lines.append(f"  decoder: {{use: text_decoder, {_common(bert)}, {words}, depth: {depth}}}")
    return "\n".join(lines) + "\n" + _fused(bert)


def _flow(config: Numbers, question: str) -> str:
    projected = config["vision_width"] != config["bert"]["hidden_size"]
    seen = _PROJECTED if projected else _SEEN.replace("patches", "visual")
    return "flow:\n" + seen + _READ.replace("question", question)


def _fusion(config: Numbers, meta: Numbers) -> str:
    width = config["hidden_size"]
    return f"""
inputs: {{image: tokens B N {width}, text: tokens B L {width}}}
modules:
{_fused(config)}
flow:
  both: fusion(text=text, vision=image)
goals:
  predict: {{image: both.vision, text: both.text}}
"""


def _vqa(config: Numbers, meta: Numbers) -> str:
    length = f"min_length={config['min_length']}, max_length={config['max_length']}"
    beams = f"beams={config['beam_size']}"
    return f"""
inputs:
  image: image B 3 H W
  question: text B L
  answer: text A La
  owner: index A -> B
  vote: weight A
  candidates: text C Lc
{_modules(config, config["bert"]["text_encoder_layers"], decoder=True)}
{_flow(config, "question")}{_BOTH}
  evidence: take(memory, owner)
  logits: decoder(answer, memory=evidence)
  loss: lm_loss(logits, target=answer, weight=vote, owner=owner)
  best_1: beam_search(@decoder, memory=memory, {beams}, best=1, {length})
  best_3: beam_search(@decoder, memory=memory, {beams}, best=3, {length})
  ranked: rank(@decoder, memory=memory, candidates=candidates, keep={config["rank_k"]}, first_token='twice')
goals:
  train: {{loss: loss}}
  predict: {{answer: best_1}}
  more: {{answer: best_3}}
  choose: {{choice: ranked.choice, answer: ranked.answer}}
"""


def _retrieval(config: Numbers, meta: Numbers) -> str:
    width, shared = config["bert"]["hidden_size"], config["embed_dim"]
    return f"""
inputs: {{image: image B 3 H W, caption: text B L, group: index B,
         wrong_image: index B -> B, wrong_text: index B -> B}}
{_modules(config, config["bert"]["text_encoder_layers"], decoder=False)}
  to_v: {{use: feature_head, width_in: {width}, width: {shared}}}
  to_t: {{use: feature_head, width_in: {width}, width: {shared}}}
  bank: {{use: feature_queue, width: {shared}, size: {config["queue_size"]}}}
  contrast: {{use: contrastive, temperature: {config["temp"]}, clamp: none}}
  mine: {{use: hard_negatives}}
  match: {{use: class_head, width: {width}, classes: 2, depth: 1, dropout: 0.0}}
{_flow(config, "caption")}
  v: to_v(visual)
  t: to_t(asked)
  stored: bank(ema(v), ema(t), group)
  itc: contrast(v, t, group, all_vision=stored.vision, all_text=stored.text, all_group=stored.group,
                alpha={config["alpha_used"]})
  hard: mine(itc.vision_to_text, itc.text_to_vision, group, wrong_vision=wrong_image, wrong_text=wrong_text)
  v3: fetch(visual, hard.vision)
  t3: fetch(asked, hard.text)
  pairs: fusion(text=t3, vision=v3)
  verdict: match(pairs.text)
  itm: cross_entropy(verdict, target=hard.label)
  loss: weighted_sum(itc.loss, itm, weights=[1.0, 1.0])
  one: fusion(text=asked, vision=visual)
  score: match(one.text)
goals:
  train: {{loss: loss}}
  embed: {{v: v, t: t, visual: visual, asked: asked}}
  rerank: {{score: score}}
momentum: {{decay: {meta["effective_momentum"]}}}
"""


def _grounding(config: Numbers, meta: Numbers) -> str:
    bins = meta["last_target_id"] - meta["first_target_id"] + 1
    ids = f"bins={bins}, prefix={meta['prefix_id']}"
    return f"""
inputs: {{image: image B 3 H W, phrase: text B L, box: boxes B 4}}
{_modules(config, meta["text_layers_kept"], decoder=True)}
{_flow(config, "phrase")}{_BOTH}
  target: box_tokens(box, {ids})
  logits: decoder(target, memory=memory)
  loss: box_loss(logits, target=target, box=box, {ids})
  released: box_loss(logits, target=target, box=box, weights='released', {ids})
  found: locate(@decoder, memory=memory, {ids})
  where: tokens_box(found, {ids})
goals:
  train: {{loss: loss}}
  as_released: {{loss: released}}
  predict: {{box: where}}
"""
