"""TiMix: the composition spec that the numbers of its fixture describe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tools.parity.recipes.mplug import module_lines

Numbers = Mapping[str, Any]

_INPUTS = """
inputs:
  image: image B 3 H W
  caption: text B L
  prefix: text B Lp
  continuation: text B Lc
  masked: text B L
  every_token: labels B L
  wrong_image: index B -> B
  wrong_text: index B -> B
  region_image: image G 3 H W
  phrase: text P Lr
  phrase_image: index P -> G
  phrase_patches: labels P {patches}
"""
_DEFINE = """
define:
  encode_text(text):
    embeds: text_embedding(text)
    return: text(embeds)
"""
_PRETRAIN = """
flow:
  visual: vision(image)
  text_hidden: encode_text(caption)
  vision_features: vision_proj(visual)
  text_features: text_proj(text_hidden)
  itc: contrast(vision_features, text_features, teacher_vision=ema(vision_features),
    teacher_text=ema(text_features), alpha={alpha})
  negatives: hard_negatives(itc.vision_to_text, itc.text_to_vision, wrong_vision=wrong_image,
    wrong_text=wrong_text)
  pair_vision: gather_rows(visual, negatives.vision)
  pair_text: gather_rows(text_hidden, negatives.text)
  pair_fused: fusion(text=pair_text, vision=pair_vision)
  match_logits: itm_head(pair_fused.text)
  itm: cross_entropy(match_logits, target=negatives.label)
  masked_hidden: encode_text(masked)
  masked_fused: fusion(text=masked_hidden, vision=visual)
  words: select_labelled(masked_fused.text, every_token)
  word_logits: mlm_head(words.hidden)
  every_word: cross_entropy(word_logits, target=words.labels, teacher=ema(word_logits), alpha={alpha})
  prefix_hidden: encode_text(prefix)
  prefix_fused: fusion(text=prefix_hidden, vision=visual)
  memory: concat(prefix_fused.vision, prefix_fused.text)
  logits: decoder(continuation, memory=memory)
  prefix_lm: lm_loss(logits, target=continuation, reduction='per_token')
  patch_logits: relevance(visual.early, text=text_hidden)
  patch_scores: log_softmax(patch_logits)
  saliency: standardize(patch_scores, channel=1)
  prediction: softmax(itc.vision_to_text)
  region_visual: vision(region_image)
  region_early: take(region_visual.early, phrase_image)
  phrase_hidden: encode_text(phrase)
  region_logits: relevance(region_early, text=phrase_hidden)
  alignment: cross_entropy(region_logits, target=phrase_patches)
"""
_MIX = """  {name}: {name}_windows(image, saliency)
  {name}_visual: vision({name}.image)
  {name}_features: vision_proj({name}_visual)
  {name}_target: mix_rows(prediction, {name}.partner, {name}.share)
  {name}_itc: contrast({name}_features, text_features, target={name}_target)
"""


def timix_recipe(config: Numbers, windows: Sequence[int]) -> str:
    """Return the YAML text of the recorded network; ``windows``: the sides of the recorded mixes, patches."""
    bert, clip = config["bert"], config["clip_tiny"]
    width, side = bert["hidden_size"], clip["image_res"] // clip["patch"]
    modules = module_lines(config, bert["text_encoder_layers"], decoder=True)
    early = clip["pruning_loc"] + 1  # the blocks are numbered from 0
    modules = modules.replace("use: image_vit,", f"use: image_vit, early: {early},")
    modules += _heads(config, width)
    mixes, names = "", []
    for number, window in enumerate(windows, start=1):
        name = f"mix{number}"
        # Whatever is drawn, the side is the recorded one: both ends are int(side * ratio).
        ratio = (window + 0.5) / side
        modules += f"  {name}_windows: {{use: window_mix, ratio: [{ratio}, {ratio}]}}\n"
        mixes += _MIX.format(name=name)
        names.append(f"{name}: {name}_itc.loss")
    goal = ", ".join(
        [
            "itc: itc.loss",
            "itm: itm",
            "prefix_lm: prefix_lm",
            "alignment: alignment",
            *names,
        ]
    )
    return (
        f"{_INPUTS.format(patches=side**2)}{modules}{_DEFINE}{_PRETRAIN.format(alpha=config['alpha'])}{mixes}\n"
        f"goals: {{losses: {{{goal}, every_word: every_word}}}}\n"
        f"momentum: {{decay: {config['momentum']}}}\n"
    )


def _heads(config: Numbers, width: int) -> str:
    features = f"{{use: feature_head, width_in: {width}, width: {config['embed_dim']}}}"
    return f"""  vision_proj: {features}
  text_proj: {features}
  contrast: {{use: contrastive, temperature: {config["temp"]}, clamp: none}}
  hard_negatives: {{use: hard_negatives}}
  itm_head: {{use: class_head, width: {width}, classes: 2, depth: 1, dropout: 0.0}}
  mlm_head: {{use: vector_head, width: {width}, classes: {config["bert"]["vocab_size"]}}}
  relevance: {{use: patch_relevance}}
"""
