"""mPLUG: the composition specs that its fixtures' numbers describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Numbers = Mapping[str, Any]

_SEEN = """  vision_encoded: vision(image)
"""
_PROJECTED = """  vision_encoded: vision(image)
  vision_hidden: to_text(vision_encoded)
"""
_READ = """  text_embeds: text_embedding(question)
  text_hidden: text(text_embeds)
"""
_BOTH = """  fused: fusion(text=text_hidden, vision=vision_hidden)
  memory: concat(fused.vision, fused.text)
"""


def kind_of(config: Numbers, meta: Numbers) -> str:
    """Return the fixture of mPLUG that these numbers belong to; the empty text if they belong to none."""
    marks = {
        "retrieval": "queue_size",
        "vqa": "rank_k",
        "grounding": "prefix_id",
        "fusion": "stride_layer",
    }
    for kind, mark in marks.items():
        if mark in {**config, **meta}:
            return kind
    return ""


def recipe(kind: str, config: Numbers, meta: Numbers) -> str:
    """The YAML text of the network whose outputs were recorded."""
    return {
        "fusion": _fusion,
        "vqa": _vqa,
        "retrieval": _retrieval,
        "grounding": _grounding,
    }[kind](config, meta)


def _common(bert: Numbers) -> str:
    heads, hidden = bert["num_attention_heads"], bert["intermediate_size"]
    return f"width: {bert['hidden_size']}, heads: {heads}, hidden: {hidden}"


def _fused(bert: Numbers) -> str:
    depth, stride = bert["fusion_layers"], bert["stride_layer"]
    return f"  fusion: {{use: fusion, {_common(bert)}, depth: {depth}, stride: {stride}}}\n"


def module_lines(config: Numbers, text_depth: int, decoder: bool) -> str:
    """Return the encoders, and the decoder where there is one, at the recorded sizes."""
    bert, clip = config["bert"], config["clip_tiny"]
    width, wide = bert["hidden_size"], config["vision_width"]
    words = f"vocab_size: {bert['vocab_size']}, max_positions: {bert['max_position_embeddings']}"
    lines = [
        "modules:",
        f"  vision: {{use: image_vit, width: {wide}, heads: {clip['heads']}, depth: {clip['layers']}, "
        f"patch: {clip['patch']}, size: {clip['image_res']}}}",
        f"  text_embedding: {{use: text_embedding, width: {width}, {words}}}",
        f"  text: {{use: text_encoder, {_common(bert)}, depth: {text_depth}}}",
    ]
    if wide != width:
        lines.append(f"  to_text: {{use: project, width_in: {wide}, width: {width}}}")
    if decoder:
        depth = bert["text_decode_layers"]
        lines.append(
            f"  decoder: {{use: text_decoder, {_common(bert)}, {words}, depth: {depth}}}"
        )
    return "\n".join(lines) + "\n" + _fused(bert)


def _flow(config: Numbers, question: str) -> str:
    projected = config["vision_width"] != config["bert"]["hidden_size"]
    seen = _PROJECTED if projected else _SEEN.replace("vision_encoded", "vision_hidden")
    return "flow:\n" + seen + _READ.replace("question", question)


def _fusion(config: Numbers, meta: Numbers) -> str:
    width = config["hidden_size"]
    return f"""
inputs: {{image: tokens B N {width}, text: tokens B L {width}}}
modules:
{_fused(config)}
flow:
  fused: fusion(text=text, vision=image)
goals:
  predict: {{image: fused.vision, text: fused.text}}
"""


def _vqa(config: Numbers, meta: Numbers) -> str:
    length = f"min_length={config['min_length']}, max_length={config['max_length']}"
    num_beams = f"num_beams={config['beam_size']}"
    return f"""
inputs:
  image: image B 3 H W
  question: text B L
  answer: text A La
  question_index: index A -> B
  answer_weight: weight A
  candidates: text C Lc
{module_lines(config, config["bert"]["text_encoder_layers"], decoder=True)}
{_flow(config, "question")}{_BOTH}
  memory_per_answer: take(memory, question_index)
  logits: decoder(answer, memory=memory_per_answer)
  loss: lm_loss(logits, target=answer, weight=answer_weight, question_index=question_index)
  best_1: beam_search(@decoder, memory=memory, {num_beams}, num_return_sequences=1, {length})
  best_3: beam_search(@decoder, memory=memory, {num_beams}, num_return_sequences=3, {length})
  ranked: rank_answers(@decoder, memory=memory, candidates=candidates, top_k={config["rank_k"]},
      first_token='twice')
goals:
  train: {{loss: loss}}
  predict: {{answer: best_1}}
  more: {{answer: best_3}}
  choose: {{choice: ranked.choice, answer: ranked.answer}}
"""


def _retrieval(config: Numbers, meta: Numbers) -> str:
    width, shared = config["bert"]["hidden_size"], config["embed_dim"]
    return f"""
inputs: {{image: image B 3 H W, caption: text B L, media_id: index B,
         wrong_image: index B -> B, wrong_text: index B -> B}}
{module_lines(config, config["bert"]["text_encoder_layers"], decoder=False)}
  vision_proj: {{use: feature_head, width_in: {width}, width: {shared}}}
  text_proj: {{use: feature_head, width_in: {width}, width: {shared}}}
  feature_queue: {{use: feature_queue, width: {shared}, size: {config["queue_size"]}}}
  contrast: {{use: contrastive, temperature: {config["temp"]}, clamp: none}}
  hard_negatives: {{use: hard_negatives}}
  itm_head: {{use: class_head, width: {width}, classes: 2, depth: 1, dropout: 0.0}}
{_flow(config, "caption")}
  vision_features: vision_proj(vision_hidden)
  text_features: text_proj(text_hidden)
  queue: feature_queue(ema(vision_features), ema(text_features), media_id)
  itc: contrast(vision_features, text_features, media_id, all_vision=queue.vision, all_text=queue.text,
      all_group=queue.group,
                alpha={config["alpha_used"]})
  negatives: hard_negatives(itc.vision_to_text, itc.text_to_vision, media_id, wrong_vision=wrong_image,
      wrong_text=wrong_text)
  pair_vision: gather_rows(vision_hidden, negatives.vision)
  pair_text: gather_rows(text_hidden, negatives.text)
  pair_fused: fusion(text=pair_text, vision=pair_vision)
  match_logits: itm_head(pair_fused.text)
  itm: cross_entropy(match_logits, target=negatives.label)
  loss: weighted_sum(itc.loss, itm, weights=[1.0, 1.0])
  rerank_fused: fusion(text=text_hidden, vision=vision_hidden)
  rerank_logits: itm_head(rerank_fused.text)
goals:
  train: {{loss: loss}}
  embed: {{vision_features: vision_features, text_features: text_features, vision_hidden: vision_hidden,
      text_hidden: text_hidden}}
  rerank: {{score: rerank_logits}}
momentum: {{decay: {meta["effective_momentum"]}}}
"""


def _grounding(config: Numbers, meta: Numbers) -> str:
    bins = meta["last_target_id"] - meta["first_target_id"] + 1
    ids = f"bins={bins}, prefix={meta['prefix_id']}"
    return f"""
inputs: {{image: image B 3 H W, phrase: text B L, box: boxes B 4}}
{module_lines(config, meta["text_layers_kept"], decoder=True)}
{_flow(config, "phrase")}{_BOTH}
  target: encode_boxes(box, {ids})
  logits: decoder(target, memory=memory)
  loss: box_loss(logits, target=target, box=box, {ids})
  released: box_loss(logits, target=target, box=box, weights='released', {ids})
  box_sequence: box_search(@decoder, memory=memory, {ids})
  predicted_box: decode_boxes(box_sequence, {ids})
goals:
  train: {{loss: loss}}
  as_released: {{loss: released}}
  predict: {{box: predicted_box}}
"""
