"""mPLUG-2: the composition spec that a fixture's numbers describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def _modules(meta: Mapping[str, Any], with_text: bool) -> list[str]:
    bert, config = meta["cfg"]["bert"], meta["cfg"]["config"]
    clip = config["_xclip"]
    width, heads, hidden = (
        bert["hidden_size"],
        bert["num_attention_heads"],
        bert["intermediate_size"],
    )
    common = f"width: {width}, heads: {heads}, hidden: {hidden}"
    words = f"vocab_size: {bert['vocab_size']}, max_positions: {bert['max_position_embeddings']}"
    stride = config["temporal_stride"] if config["temporal_downsampling"] else 0
    lines = [
        f"vision: {{use: video_vit, width: {clip['vision_width']}, depth: {clip['vision_layers']}, "
        f"patch: {clip['patch']}, frames: {config['model_num_frames']}, size: {config['image_res']}, "
        f"temporal_stride: {stride}}}",
        f"universal: {{use: universal, {common}, depth: {bert['num_uni_layer']}}}",
        f"decoder: {{use: text_decoder, {common}, {words}, depth: {bert['text_decode_layers']}}}",
    ]
    if clip["vision_width"] != width:
        lines.append(
            f"to_text: {{use: project, width_in: {clip['vision_width']}, width: {width}}}"
        )
    if with_text:
        depth = bert["text_encoder_layers"] - bert["num_uni_layer"]
        lines += [
            f"text_embedding: {{use: text_embedding, width: {width}, {words}}}",
            f"text: {{use: text_encoder, {common}, depth: {depth}}}",
            f"fusion: {{use: fusion, {common}, depth: {bert['fusion_layers']}, "
            f"stride: {bert['stride_layer']}}}",
        ]
    return lines


def _vision_flow(meta: Mapping[str, Any]) -> list[str]:
    projected = (
        meta["cfg"]["config"]["_xclip"]["vision_width"]
        != meta["cfg"]["bert"]["hidden_size"]
    )
    last = "projected" if projected else "vision_encoded"
    lines = ["vision_encoded: vision(video)"]
    if projected:
        lines.append("projected: to_text(vision_encoded)")
    return [*lines, f"vision_hidden: universal({last}, route='vision')"]


def _searches(meta: Mapping[str, Any], memory: str) -> tuple[list[str], list[str]]:
    flow, goals = [], []
    for i, run in enumerate(meta["results"]["beam"]):
        s = run["settings"]
        # more words at least than at most, as was recorded once, are as many as fit
        least = min(s["min_length"], s["max_length"])
        flow.append(
            f"beam_{i}: beam_search(@decoder, memory={memory}, num_beams={s['beam']}, "
            f"num_return_sequences={s['out_size']}, "
            f"min_length={least}, max_length={s['max_length']})"
        )
        goals.append(f"beam_{i}: {{answer: beam_{i}}}")
    return flow, goals


def _caption(meta: Mapping[str, Any]) -> str:
    flow, goals = _searches(meta, "vision_hidden")
    skip = meta["results"]["prompt_length"]
    flow = [
        *_vision_flow(meta),
        "logits: decoder(caption, memory=vision_hidden)",
        f"loss: lm_loss(logits, target=caption, ignore_first={skip}, reduction='per_token')",
        "complete: lm_loss(logits, target=caption, reduction='per_token')",
        *flow,
    ]
    goals = [
        "train: {loss: loss}",
        "unmasked: {loss: complete}",
        "embed: {visual: vision_hidden, logits: logits}",
        *goals,
    ]
    return _text(["caption: text B L"], _modules(meta, with_text=False), flow, goals)


def _video_qa(meta: Mapping[str, Any]) -> str:
    flow, goals = _searches(meta, "memory")
    distilled = meta["cfg"]["config"]["distill"]
    alpha = meta["cfg"]["config"]["alpha"]
    for ranked in meta["results"]["rank"]:
        k = ranked["k"]
        flow.append(
            f"rank_{k}: rank_answers(@decoder, memory=memory, candidates=candidates, top_k={k}, "
            f"first_token='twice')"
        )
        goals.append(
            f"rank_{k}: {{choice: rank_{k}.choice, scores: rank_{k}.answer, first: rank_{k}.first}}"
        )
    loss = "lm_loss(logits, target=answer, weight=answer_weight, question_index=question_index"
    flow = [
        *_vision_flow(meta),
        "text_embeds: text_embedding(question)",
        "text_encoded: text(text_embeds)",
        "text_hidden: universal(text_encoded, route='text')",
        "fused: fusion(text=text_hidden, vision=vision_hidden)",
        "memory: concat(fused.vision, fused.text)",
        "memory_per_answer: take(memory, question_index)",
        "logits: decoder(answer, memory=memory_per_answer)",
        f"loss: {loss})",
        *flow,
    ]
    goals = ["train: {loss: loss}", "embed: {memory: memory, logits: logits}", *goals]
    if distilled:
        flow.append(f"soft: {loss}, teacher=ema(logits), alpha={alpha})")
        goals.append("distill: {loss: soft}")
    inputs = [
        "question: text B L",
        "answer: text A La",
        "question_index: index A -> B",
        "answer_weight: weight A",
        "candidates: text C Lc",
    ]
    text = _text(inputs, _modules(meta, with_text=True), flow, goals)
    return text + ("momentum: {decay: 0.995}\n" if distilled else "")


def _text(
    inputs: list[str], modules: list[str], flow: list[str], goals: list[str]
) -> str:
    def section(name: str, lines: list[str]) -> str:
        return f"{name}:\n" + "".join(f"  {line}\n" for line in lines)

    inputs = ["video: frames B 3 T H W", *inputs]
    return (
        section("inputs", inputs)
        + section("modules", modules)
        + section("flow", flow)
        + section("goals", goals)
    )


def fixture_spec(meta: Mapping[str, Any]) -> str:
    """The YAML text of the network whose outputs ``meta`` was recorded with; KeyError for another kind of
    fixture."""
    return {"vqa": _video_qa, "caption": _caption}[meta["kind"]](meta)
