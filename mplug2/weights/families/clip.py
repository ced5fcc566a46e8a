"""CLIP's visual tower (arXiv 2103.00020) in OpenAI's names or Hugging Face's: image and video encoders."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from mplug2.weights.families.pieces import LEAF, VISION, VISION_LABEL, alternative, clip_tower
from mplug2.weights.keymap import Drop, Fresh, KeyMap, Role, Row
from mplug2.weights.shape_fixes import grid_positions, tubes
from mplug2.weights.transforms import concat, leading
from registry import UserError

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
BLOCK = "vision_model.encoder.layers.{layer}."
TEXT = "CLIP's text tower, or what joins it to the visual one"
TEMPORAL = "CLIP has no temporal layers: they begin as the identity"


def _hugging_face() -> tuple[Row, ...]:
    """Return the rows of Hugging Face's names; query, key and value are one matrix here."""
    projections = tuple(f"{BLOCK}self_attn.{name}_proj.{LEAF}" for name in ("q", "k", "v"))
    pairs = (
        (f"self_attn.out_proj.{LEAF}", "attn.proj.{leaf}"),
        (f"layer_norm1.{LEAF}", "norm1.{leaf}"),
        (f"layer_norm2.{LEAF}", "norm2.{leaf}"),
        (f"mlp.fc1.{LEAF}", "mlp.fc1.{leaf}"),
        (f"mlp.fc2.{LEAF}", "mlp.fc2.{leaf}"),
    )
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
        Row(projections, "blocks.{layer}.attn.qkv.{leaf}", "vision", concat()),
        *(Row(BLOCK + theirs, f"blocks.{{layer}}.{ours}", "vision") for theirs, ours in pairs),
    )


def _open(where: str) -> Released:
    from dataclasses import replace
    from pathlib import Path

    from mplug2.weights.files import read_released
    from mplug2.weights.hub import WEIGHTS, find_file, read_config

    if Path(where).is_file():
        return read_released(where)
    folder = MODELS.get(where, where)
    config = read_config(folder)
    kind = config.get("model_type")
    activation = config.get("vision_config", config).get("hidden_act", "quick_gelu")
    if kind not in ("clip", "clip_vision_model") or activation != "quick_gelu":
        raise UserError(
            f"{where}: must be a CLIP with the activation quick_gelu, but is a '{kind}' with '{activation}'"
        )
    return replace(read_released(find_file(folder, WEIGHTS)), origin=where, config=config)


def _heads(released: Released) -> int:
    """Return the attention heads: of the config, or one for 64 channels as OpenAI has them; 0: unknown."""
    config: Mapping[str, Any] = released.config
    if config:
        return int(config.get("vision_config", config).get("num_attention_heads", 12))
    for key in ("visual.class_embedding", "vision_model.embeddings.class_embedding"):
        if key in released.tensors:
            return max(1, released.tensors[key].shape[-1] // 64)
    return 0


def _check(net: Network, released: Released, module_names: Collection[str]) -> None:
    """Raise UserError if an encoder splits its width into other heads, which no shape shows."""
    heads = _heads(released)
    for name, entry in net.spec.modules.items():
        if name not in module_names or entry.use not in VISION or not heads:
            continue
        block: Any = net.get_submodule(f"{name}.{VISION[entry.use]}blocks.0")
        if block.attn.num_heads != heads:
            raise UserError(
                f"this CLIP has {heads} heads, but module '{name}' has {block.attn.num_heads}\n"
                f"    hint: `{name}: {{heads: {heads}}}`"
            )


KEY_MAP = KeyMap(
    title="CLIP's vision transformer",
    source="NAME_OR_FILE",
    roles={"vision": Role(VISION_LABEL, VISION, many=True)},
    rows=(
        Drop("visual.proj", "CLIP's output projection: the encoders here end before it"),
        Drop("visual_projection.{rest*}", "CLIP's output projection: the encoders here end before it"),
        Drop("{path*}.position_ids", "a constant: 0, 1, 2, ..."),
        *clip_tower("visual.", "vision"),
        *alternative(_hugging_face()),
        Drop("{name:(?!visual\\.|vision_model\\.).*}", TEXT),
    ),
    fresh=(
        Fresh("blocks.{layer}.before.{rest*}", "vision", TEMPORAL),
        Fresh("blocks.{layer}.after.{rest*}", "vision", TEMPORAL),
    ),
    open=_open,
    check=_check,
)
