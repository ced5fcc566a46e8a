"""Released mPLUG-2 checkpoints (arXiv 2302.00402): video question answering and captioning."""

from __future__ import annotations

from mplug2.weights.families.pieces import (
    LEAF,
    VISION,
    VISION_LABEL,
    bert_embeddings,
    bert_layers,
    clip_tower,
    cross_attention,
    position_ids,
    word_head,
)
from mplug2.weights.keymap import Drop, Facts, KeyMap, Role, Row, Values
from mplug2.weights.transforms import DEPTHWISE, FRAME_PATCHES, trailing

LAYER = "encoder.layer.{layer}."
FUSION = "fusion_encoder."
# Layers of the released sizes, by width: for files that are written without an original.
STORED_LAYERS = {768: 12, 1024: 24}


def _vision(facts: Facts, module: str) -> Values:
    return {"temporal": facts.use(module) == "video_vit"}


def _stored_text(facts: Facts, module: str) -> int:
    """Return the number of stored text layers, universal ones included."""
    depths = {
        facts.use(name): facts.argument(name, "depth", 2) for name in facts.spec.modules
    }
    # With an original, its keys are counted; this is for files that are written without one.
    layers = STORED_LAYERS.get(facts.argument(module, "width", 0), 12)
    if "text_encoder" in depths:
        layers = depths["text_encoder"] + depths.get("universal", 2)
    return facts.count("text_encoder." + LAYER + "{rest*}", layers)


def _words(facts: Facts, module: str) -> Values:
    return {"positions": facts.argument(module, "max_positions", 512)}


def _text(facts: Facts, module: str) -> Values:
    """Return the first universal layer: those before it are the text encoder's."""
    universal = 2
    for entry in facts.spec.modules.values():
        if entry.use == "universal":
            universal = entry.arguments.get("depth", 2)
    return {"first": _stored_text(facts, module) - universal}


def _universal(facts: Facts, module: str) -> Values:
    """Return the first universal layer and the one whose latents are read."""
    first = _stored_text(facts, module) - facts.argument(module, "depth", 2)
    return {
        "first": first,
        "latents": facts.least("text_encoder.encoder.layer.{layer}.latents", first),
    }


def fusion(facts: Facts, module: str, released: str = FUSION) -> Values:
    """Return the depth, stride and first stored layer of the fusion layers that run.

    ``released``: how their keys begin.
    """
    depth = facts.argument(module, "depth", 0)
    layers = max(depth, STORED_LAYERS.get(facts.argument(module, "width", 0), 12))
    stored = facts.count(released + LAYER + "{rest*}", layers)
    return {
        "depth": depth,
        "first": stored - depth,
        "stride": facts.argument(module, "stride", 1000),
    }


def is_connected(values: Values) -> bool:
    """Return whether a stored fusion layer runs over [vision; text] and so has no cross-attention."""
    index = values["layer"] - values["first"]
    return bool(index > 0 and index % values["stride"] == 0)


def _is_text(values: Values) -> bool:
    return bool(values["layer"] < values["first"])


def _is_universal(values: Values) -> bool:
    return bool(values["layer"] >= values["first"])


def _is_temporal(values: Values) -> bool:
    return bool(values["temporal"])


def _temporal_layers(released: str, ours: str) -> tuple[Row, ...]:
    """Return the rows of a local temporal layer: 1x1x1 convolutions around one over time."""
    # A linear layer here computes the same as their convolution with a 1x1x1 kernel.
    kernel = trailing(3, optional=True)
    return (
        Row(
            f"{released}ln.{LEAF}", f"{ours}norm.{{leaf}}", "vision", where=_is_temporal
        ),
        Row(
            f"{released}down_proj.weight",
            f"{ours}down.weight",
            "vision",
            kernel,
            where=_is_temporal,
        ),
        Row(
            f"{released}down_proj.bias",
            f"{ours}down.bias",
            "vision",
            where=_is_temporal,
        ),
        Row(
            f"{released}up_proj.weight",
            f"{ours}up.weight",
            "vision",
            kernel,
            where=_is_temporal,
        ),
        Row(f"{released}up_proj.bias", f"{ours}up.bias", "vision", where=_is_temporal),
        Row(
            f"{released}conv.weight",
            f"{ours}kernel",
            "vision",
            DEPTHWISE,
            where=_is_temporal,
        ),
        Row(f"{released}conv.bias", f"{ours}kernel_bias", "vision", where=_is_temporal),
    )


def fusion_rows(prefix: str = FUSION) -> tuple[Row | Drop, ...]:
    """Return the rows of the fusion encoder: the last layers run, connected ones without cross-attention.

    ``prefix``: how the released keys begin.
    """
    released, ours = prefix + LAYER, "layers.{layer-first}."
    return (
        Drop(prefix + "embeddings.{rest*}", "fusion layers read tokens, not words"),
        Drop(
            released + "{rest*}",
            "only the last {depth} stored fusion layers run",
            "fusion",
            lambda values: values["layer"] < values["first"],
        ),
        Drop(
            released + "crossattention.{rest*}",
            "a connected layer has no cross-attention",
            "fusion",
            is_connected,
        ),
        *bert_layers(released, ours, "fusion"),
        *cross_attention(released, ours, "fusion"),
    )


def decoder_rows() -> tuple[Row, ...]:
    """Return the rows of the text decoder."""
    released, ours = "text_decoder.bert." + LAYER, "layers.{layer}."
    return (
        *bert_layers(released, ours, "decoder"),
        *cross_attention(released, ours, "decoder"),
        *bert_embeddings("text_decoder.bert.embeddings.", "embedding.", "decoder"),
        *word_head("text_decoder.cls.predictions.", "decoder"),
    )


CONSTANT = "a constant: 0, 1, 2, ..."
POSITION_IDS = (
    Drop("text_encoder.embeddings.position_ids", CONSTANT, "words", make=position_ids),
    Drop(
        "text_decoder.bert.embeddings.position_ids",
        CONSTANT,
        "decoder",
        make=position_ids,
    ),
    Drop("{path*}.position_ids", CONSTANT),
)
CLIP_TEXT = "CLIP's text tower, not part of mPLUG-2"
TEXT = "text_encoder." + LAYER
BLOCK = "visual_encoder.visual.transformer.resblocks.{layer}."

KEY_MAP = KeyMap(
    title="mPLUG-2",
    source="FILE",
    roles={
        "vision": Role(VISION_LABEL, VISION, numbers=_vision),
        "project": Role("project", {"project": ""}),
        "words": Role("text_embedding", {"text_embedding": ""}, numbers=_words),
        "text": Role("text_encoder", {"text_encoder": ""}, numbers=_text),
        "universal": Role("universal", {"universal": ""}, numbers=_universal),
        "fusion": Role("fusion", {"fusion": ""}, numbers=fusion),
        "decoder": Role("text_decoder", {"text_decoder": ""}, numbers=_words),
    },
    renames=(
        (
            # Some files have the encoders inside one more module.
            "{part:text_encoder|text_encoder_m|fusion_encoder|fusion_encoder_m}.bert.{rest*}",
            "{part}.{rest}",
        ),
    ),
    # The EMA copy of `text_encoder.x` is called `text_encoder_m.x`.
    ema=(r"{part:\w+}_m.{rest*}", "{part}.{rest}"),
    rows=(
        # What a released checkpoint stores and the network never reads (measured by gradients).
        Drop(
            "visual_encoder.{name:positional_embedding|text_projection|logit_scale|token_embedding\\.weight}",
            CLIP_TEXT,
        ),
        Drop("visual_encoder.{part:transformer|ln_final}.{rest*}", CLIP_TEXT),
        Drop(
            "visual_encoder.visual.proj",
            "CLIP's output projection, not used by mPLUG-2",
        ),
        Drop(
            "{path*}.{part:intermediate_vision|output_vision}.{rest*}",
            "a second feed-forward, never run",
        ),
        # Before the rows that could match the same keys: the first entry counts.
        *POSITION_IDS,
        Drop("text_decoder.{path*}.latents", "latents of a decoder layer, never run"),
        Drop(
            "visual_encoder.visual.{path*}.{part:lmhra1|lmhra2}.{rest*}",
            "a temporal layer, which an encoder of images has not",
            "vision",
            lambda values: not values["temporal"],
        ),
        *clip_tower("visual_encoder.visual.", "vision", FRAME_PATCHES),
        *_temporal_layers(BLOCK + "lmhra1.", "blocks.{layer}.before."),
        *_temporal_layers(BLOCK + "lmhra2.", "blocks.{layer}.after."),
        Row(f"visn_fc.{LEAF}", "linear.{leaf}", "project"),
        Row(f"visn_layer_norm.{LEAF}", "norm.{leaf}", "project"),
        Row(f"visn_emb_norm.{LEAF}", "norm.{leaf}", "universal"),
        *bert_embeddings("text_encoder.embeddings.", "", "words"),
        *bert_layers(TEXT, "layers.{layer}.", "text", _is_text),
        *bert_layers(TEXT, "layers.{layer-first}.", "universal", _is_universal),
        *cross_attention(TEXT, "layers.{layer-first}.", "universal", _is_universal),
        Row("text_encoder.encoder.layer.{latents}.latents", "latents", "universal"),
        Drop(TEXT + "latents", "latents of a later layer, never run", "universal"),
        *fusion_rows(),
        *decoder_rows(),
    ),
)
