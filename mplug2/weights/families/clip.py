"""CLIP (arXiv 2103.00020) in the names of OpenAI, open_clip or Hugging Face: both towers, or images alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mplug2.weights.families.pieces import (
    LEAF,
    VISION,
    VISION_LABEL,
    alternative,
    clip_blocks,
    clip_tower,
)
from mplug2.weights.keymap import Drop, Fresh, KeyMap, Role, Row
from mplug2.weights.shape_fixes import first_rows, grid_positions, tubes
from mplug2.weights.transforms import TRANSPOSE, concat, leading
from registry import Spec, UserError

if TYPE_CHECKING:
    from mplug2.network import Network
    from mplug2.weights.files import Released

# The names that OpenAI gave its models, and where the same weights are as tensors alone.
MODELS = {
    "ViT-B-32": "openai/clip-vit-base-patch32",
    "ViT-B-16": "openai/clip-vit-base-patch16",
    "ViT-L-14": "openai/clip-vit-large-patch14",
    "ViT-L-14-336": "openai/clip-vit-large-patch14-336",
}
OPEN_CLIP_CONFIG = "open_clip_config.json"
OPEN_CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
CHANNELS = 64  # of a head, in all of OpenAI's sizes
# A vector of each tower, in OpenAI's names and Hugging Face's.
VECTORS = {
    "vision": ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
    "text": ("ln_final.weight", "text_model.final_layer_norm.weight"),
}
NO_PROJECTION = "CLIP's output projection: the encoders here end before it"
TEXT = "CLIP's text tower, or what joins it to the visual one"
TEMPORAL = "CLIP has no temporal layers: they begin as the identity"


def _has_text(spec: Spec, module: str) -> bool:
    """Return whether a network has CLIP's text tower: then heads and temperatures are CLIP's, too."""
    return any(entry.use == "clip_text" for entry in spec.modules.values())


def _learns_scale(spec: Spec, module: str) -> bool:
    """Return whether a module is CLIP's temperature: with its text tower, and learned as a logarithm."""
    return (
        _has_text(spec, module)
        and spec.modules[module].arguments.get("learn") == "log_scale"
    )


def _openai_text() -> tuple[Row, ...]:
    """Return the rows of the text tower, of both projections and of the temperature in OpenAI's names."""
    return (
        Row("token_embedding.weight", "word.weight", "text"),
        Row("positional_embedding", "position", "text", resize=first_rows),
        *clip_blocks("", "text"),
        Row(f"ln_final.{LEAF}", "norm.{leaf}", "text"),
        Row("text_projection", "linear.weight", "text_proj", TRANSPOSE),
        Row("visual.proj", "linear.weight", "vision_proj", TRANSPOSE),
        Row("logit_scale", "log_scale", "contrastive", leading(1)),
    )


def _hugging_face_text() -> tuple[Row, ...]:
    """Return the same rows in Hugging Face's names."""
    embeddings = "text_model.embeddings."
    return (
        Row(f"{embeddings}token_embedding.weight", "word.weight", "text"),
        Row(
            f"{embeddings}position_embedding.weight",
            "position",
            "text",
            resize=first_rows,
        ),
        *_hugging_face_blocks("text_model.", "text"),
        Row(f"text_model.final_layer_norm.{LEAF}", "norm.{leaf}", "text"),
        Row("text_projection.weight", "linear.weight", "text_proj"),
        Row("visual_projection.weight", "linear.weight", "vision_proj"),
    )


def _names_of(*rows: Row) -> Iterator[Drop]:
    """Yield a drop for each released name of some rows: for networks without the modules that take them."""
    for row in rows:
        names = (row.released,) if isinstance(row.released, str) else row.released
        for name in names:
            yield Drop(name, TEXT)


def _hugging_face_blocks(tower: str, role: str) -> tuple[Row, ...]:
    """Return the rows of the blocks of a tower; query, key and value are one matrix here."""
    block = f"{tower}encoder.layers.{{layer}}."
    projections = tuple(
        f"{block}self_attn.{name}_proj.{LEAF}" for name in ("q", "k", "v")
    )
    pairs = (
        (f"self_attn.out_proj.{LEAF}", "attn.proj.{leaf}"),
        (f"layer_norm1.{LEAF}", "norm1.{leaf}"),
        (f"layer_norm2.{LEAF}", "norm2.{leaf}"),
        (f"mlp.fc1.{LEAF}", "mlp.fc1.{leaf}"),
        (f"mlp.fc2.{LEAF}", "mlp.fc2.{leaf}"),
    )
    return (
        Row(projections, "blocks.{layer}.attn.qkv.{leaf}", role, concat()),
        *(
            Row(block + theirs, f"blocks.{{layer}}.{ours}", role)
            for theirs, ours in pairs
        ),
    )


def _hugging_face() -> tuple[Row, ...]:
    """Return the rows of the visual tower in Hugging Face's names."""
    embeddings = "vision_model.embeddings."
    return (
        Row(f"{embeddings}class_embedding", "stem.cls", "vision", leading(2)),
        Row(
            f"{embeddings}position_embedding.weight",
            "stem.position",
            "vision",
            leading(1),
            resize=grid_positions,
        ),
        Row(
            f"{embeddings}patch_embedding.weight",
            "stem.patch.proj.weight",
            "vision",
            resize=tubes,
        ),
        # "layrnorm" is how transformers spells it.
        Row(f"vision_model.pre_layrnorm.{LEAF}", "stem.norm.{leaf}", "vision"),
        Row(f"vision_model.post_layernorm.{LEAF}", "norm.{leaf}", "vision"),
        *_hugging_face_blocks("vision_model.", "vision"),
    )


def _open(where: str) -> Released:
    from dataclasses import replace
    from pathlib import Path

    from mplug2.weights.files import read_released
    from mplug2.weights.hub import WEIGHTS, find_file, read_config

    if Path(where).is_file():
        return read_released(where)
    folder = MODELS.get(where, where)
    is_open_clip = (
        find_file(folder, ("config.json", OPEN_CLIP_CONFIG)).name == OPEN_CLIP_CONFIG
    )
    if is_open_clip:
        config = _open_clip_config(where, read_config(folder, OPEN_CLIP_CONFIG))
    else:
        config = read_config(folder)
        _check_hugging_face(where, config)
    weights = find_file(folder, OPEN_CLIP_WEIGHTS if is_open_clip else WEIGHTS)
    return replace(read_released(weights), origin=where, config=config)


def _check_hugging_face(where: str, config: Mapping[str, Any]) -> None:
    """Raise UserError for another network or activation."""
    kind = config.get("model_type")
    towers = [
        config[name] for name in ("vision_config", "text_config") if name in config
    ] or [config]
    for tower in towers:
        activation = tower.get("hidden_act", "quick_gelu")
        if kind not in ("clip", "clip_vision_model") or activation != "quick_gelu":
            raise UserError(
                f"{where}: must be a CLIP with the activation quick_gelu, but is a '{kind}' with "
                f"'{activation}'"
            )


def _open_clip_config(where: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return open_clip's numbers of heads in Hugging Face's names; UserError for another activation."""
    try:
        model = config["model_cfg"]
        vision, text = model["vision_cfg"], model["text_cfg"]
        if not model.get("quick_gelu", False):
            raise UserError(
                f"{where}: must be a CLIP with the activation quick_gelu, but {OPEN_CLIP_CONFIG} does not "
                "set quick_gelu"
            )
        vision_heads = vision["width"] // vision.get("head_width", CHANNELS)
        return {
            "vision_config": {"num_attention_heads": vision_heads},
            "text_config": {"num_attention_heads": text["heads"]},
        }
    except (KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        problem = (
            f"must describe a vision transformer ({type(error).__name__}: {error})"
        )
        raise UserError(f"{where}: {OPEN_CLIP_CONFIG} {problem}") from None


def _heads(released: Released, tower: str) -> int:
    """Return the attention heads of ``vision`` or ``text``: those of the config, or one for 64 channels
    as in OpenAI's models; 0: unknown."""
    config: Mapping[str, Any] = released.config
    if config:
        numbers = config.get(f"{tower}_config", config if tower == "vision" else {})
        return int(numbers.get("num_attention_heads", 12 if tower == "vision" else 8))
    for key in VECTORS[tower]:
        if key in released.tensors:
            return max(1, released.tensors[key].shape[-1] // CHANNELS)
    return 0


def _check(net: Network, released: Released, module_names: Collection[str]) -> None:
    """Raise UserError if an encoder splits its width into other heads, which no shape shows."""
    for name, entry in net.spec.modules.items():
        tower = "text" if entry.use == "clip_text" else "vision"
        heads = _heads(released, tower)
        if (
            name not in module_names
            or entry.use not in (*VISION, "clip_text")
            or not heads
        ):
            continue
        block: Any = net.get_submodule(f"{name}.{VISION.get(entry.use, '')}blocks.0")
        if block.attn.num_heads != heads:
            raise UserError(
                f"this CLIP has {heads} heads, but module '{name}' has {block.attn.num_heads}\n"
                f"    hint: `{name}: {{heads: {heads}}}`"
            )


KEY_MAP = KeyMap(
    title="CLIP",
    source="NAME_OR_FILE",
    roles={
        "vision": Role(VISION_LABEL, VISION, many=True),
        "text": Role("clip_text", {"clip_text": ""}),
        "vision_proj": Role("feature_head", {"feature_head": ""}, _has_text),
        "text_proj": Role("end_head", {"end_head": ""}),
        "contrastive": Role(
            "contrastive", {"contrastive": "", "chunked_contrastive": ""}, _learns_scale
        ),
    },
    rows=(
        *(
            Drop(name, "a setting of the released archive")
            for name in ("input_resolution", "context_length", "vocab_size")
        ),
        Drop("{path*}.position_ids", "a constant: 0, 1, 2, ..."),
        *_openai_text(),
        *alternative(_hugging_face_text()),
        Drop("visual.proj", NO_PROJECTION),
        Drop("visual_projection.{rest*}", NO_PROJECTION),
        *clip_tower("visual.", "vision"),
        *alternative(_hugging_face()),
        *_names_of(*_openai_text(), *_hugging_face_text()),
    ),
    fresh=(
        Fresh("blocks.{layer}.before.{rest*}", "vision", TEMPORAL),
        Fresh("blocks.{layer}.after.{rest*}", "vision", TEMPORAL),
    ),
    open=_open,
    check=_check,
    # A text tower that open_clip builds separately has this prefix.
    renames=(("text.{rest*}", "{rest*}"),),
    wrapper="",
)
