"""Released mPLUG checkpoints (arXiv 2205.12005): pre-trained ones, and fine-tuned for any of its tasks."""

from __future__ import annotations

from mplug2.weights.families.mplug2 import (
    POSITION_IDS,
    decoder_rows,
    fusion,
    fusion_rows,
)
from mplug2.weights.families.pieces import (
    LEAF,
    VISION,
    bert_embeddings,
    bert_layers,
    clip_tower,
)
from mplug2.weights.keymap import Drop, Facts, KeyMap, Role, Row, Values
from mplug2.weights.transforms import TRANSPOSE, leading
from registry import Spec

LAYER = "text_encoder.encoder.layer.{layer}."
ENCODER = "text_encoder|text_encoder_m|fusion_encoder|fusion_encoder_m"


def input_kinds(spec: Spec, module: str) -> set[str]:
    """Return the kinds of the inputs from which the calls of ``module`` are computed.

    What a vision encoder reads is an image, whatever it is computed from: TiMix's are mixed by their texts.
    """
    # Backwards through the flow, from what the module reads.
    waiting: list[str] = []
    for line in spec.flow.values():
        if line.callee == module:
            waiting += [ref.stream for ref in line.refs()]
    kinds: set[str] = set()
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in spec.inputs:
            kinds.add(spec.inputs[name].kind)
            continue
        line = spec.flow[name]
        if line.callee in spec.modules and spec.modules[line.callee].use in VISION:
            kinds.add("image")
        else:
            waiting += [ref.stream for ref in line.refs()]
    return kinds


def _reads_text(spec: Spec, module: str) -> bool:
    return "text" in input_kinds(spec, module)


def _reads_no_text(spec: Spec, module: str) -> bool:
    return not _reads_text(spec, module)


def _has_one_layer(spec: Spec, module: str) -> bool:
    return spec.modules[module].arguments.get("depth", 2) == 1


def _words(facts: Facts, module: str) -> Values:
    return {"positions": facts.argument(module, "max_positions", 512)}


def _text(facts: Facts, module: str) -> Values:
    return {"depth": facts.argument(module, "depth", 0)}


def _queue(facts: Facts, module: str) -> Values:
    """Return the sizes of this network's queue and of the stored one."""
    size = facts.argument(module, "size", 65536)
    return {"size": size, "stored": facts.size("idx_queue", size)}


def _runs(values: Values) -> bool:
    return bool(values["layer"] < values["depth"])


def encoder_rows() -> tuple[Row | Drop, ...]:
    """Return the rows of the vision tower, and of the text encoder, whose first layers run."""
    return (
        *clip_tower("visual_encoder.visual.", "vision"),
        Row(f"visn_fc.{LEAF}", "linear.{leaf}", "project"),
        Row(f"visn_layer_norm.{LEAF}", "norm.{leaf}", "project"),
        *bert_embeddings("text_encoder.embeddings.", "", "words"),
        Drop(
            LAYER + "{rest*}",
            "only the first {depth} stored text layers run here",
            "text",
            lambda values: not _runs(values),
        ),
        *bert_layers(LAYER, "layers.{layer}.", "text"),
    )


def head_rows() -> tuple[Row, ...]:
    """Return the rows of what compares images and texts: features, matching, temperature."""
    return (
        Row(f"vision_proj.{LEAF}", "linear.{leaf}", "vision_proj"),
        Row(f"text_proj.{LEAF}", "linear.{leaf}", "text_proj"),
        Row(f"itm_head.{LEAF}", "out.{leaf}", "match"),
        Row("temp", "temperature", "contrast", leading(1)),
    )


# Of the released towers, what mPLUG never runs.
VISION_DROPS = (
    Drop(
        "visual_encoder.visual.proj", "CLIP's output projection, which mPLUG never runs"
    ),
    Drop(
        "visual_encoder.{rest:(?!visual\\.).*}",
        "CLIP's text tower, which mPLUG never runs",
    ),
)
ROLES = {
    "vision": Role("vision encoder", VISION),
    "project": Role("project", {"project": ""}),
    "words": Role("text_embedding", {"text_embedding": ""}, numbers=_words),
    "text": Role("text_encoder", {"text_encoder": ""}, numbers=_text),
    "fusion": Role("fusion", {"fusion": ""}, numbers=fusion),
    "decoder": Role("text_decoder", {"text_decoder": ""}, numbers=_words),
    "vision_proj": Role("feature_head of vision", {"feature_head": ""}, _reads_no_text),
    "text_proj": Role("feature_head of text", {"feature_head": ""}, _reads_text),
    "match": Role("class_head of depth 1", {"class_head": ""}, _has_one_layer),
    "contrast": Role("contrastive", {"contrastive": ""}),
}


KEY_MAP = KeyMap(
    title="mPLUG",
    source="FILE",
    roles={
        **ROLES,
        "queue": Role("feature_queue", {"feature_queue": ""}, numbers=_queue),
    },
    foreign={"universal": "universal layers"},
    # Pre-trained checkpoints name the stack inside an encoder, fine-tuned ones do not.
    renames=((f"{{part:{ENCODER}}}.{{stack:bert|fusion}}.{{rest*}}", "{part}.{rest}"),),
    ema=(r"{part:\w+}_m.{rest*}", "{part}.{rest}"),
    rows=(
        *VISION_DROPS,
        *POSITION_IDS,
        Drop(
            "{part:text_encoder|fusion_encoder}.cls.{rest*}", "a head of pre-training"
        ),
        Drop(
            "{name:prefix_ids|target_ids|bbox_prob_mask}",
            "a constant: the ids of coordinates",
        ),
        *encoder_rows(),
        *fusion_rows(),
        *decoder_rows(),
        *head_rows(),
        Drop(
            "{name:image_queue|text_queue|idx_queue|queue_ptr}",
            "a queue of {stored}, and this network's holds {size}",
            "queue",
            lambda values: values["stored"] != values["size"],
        ),
        # Stored as width x size.
        Row("image_queue", "vision", "queue", TRANSPOSE),
        Row("text_queue", "text", "queue", TRANSPOSE),
        Row("idx_queue", "group", "queue", leading(1).inverse),
        Row("queue_ptr", "pointer", "queue"),
    ),
)
