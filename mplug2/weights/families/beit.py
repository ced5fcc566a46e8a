"""BEiT (arXiv 2106.08254), self-supervised or fine-tuned: a network of images, or the start of VLMo."""

from __future__ import annotations

from mplug2.weights.bias_resize import relative_bias
from mplug2.weights.families.multiway import (
    block_rows,
    is_alone,
    is_pair,
    norm_rows,
    numbers,
    stack_roles,
)
from mplug2.weights.families.pieces import LEAF, alternative
from mplug2.weights.keymap import Drop, Facts, Fresh, KeyMap, Role, Row, Values
from mplug2.weights.shape_fixes import grid_positions_cubic
from mplug2.weights.transforms import BLOCK_TABLES, SHARED_TABLE
from registry import Spec

TABLE = "blocks.{layer}.attn.relative_position_bias_table"
SHARED = "rel_pos_bias.relative_position_bias_table"
BOTH = ("bias.image", "upper:bias.image")
TEXT = "BEiT has seen no text"


def _predicts_patches(spec: Spec, module: str) -> bool:
    """Return whether a head of one layer predicts masked patches: then the network can mask them."""
    if spec.modules[module].arguments.get("depth", 2) != 1:
        return False
    return any(_masks(spec, name) for name in spec.modules)


def _masks(spec: Spec, module: str) -> bool:
    entry = spec.modules[module]
    has_token = bool(entry.arguments.get("mask_token", False))
    return entry.use == "image_embedding" and has_token


def _normalizes(spec: Spec, module: str) -> bool:
    return spec.modules[module].arguments.get("norm", "none") == "layer"


def _patches(facts: Facts, module: str) -> Values:
    return {
        "masks": _masks(facts.spec, module),
        "stored_mask": "mask_token" in facts.shapes,
    }


def _stack(facts: Facts, module: str) -> Values:
    # A fine-tuned BEiT averages the patches and norms the mean instead.
    return {**numbers(facts, module), "stored_norm": "norm.weight" in facts.shapes}


def _masks_nothing(values: Values) -> bool:
    return not values["masks"]


_SHARED = (
    Row(SHARED, "bias.image", "lower", SHARED_TABLE, is_alone, relative_bias),
    Row(SHARED, BOTH, "lower", SHARED_TABLE, is_pair, relative_bias),
)

KEY_MAP = KeyMap(
    title="BEiT",
    source="FILE",
    roles={
        "patches": Role("image_embedding", {"image_embedding": ""}, numbers=_patches),
        **{
            name: Role(role.label, role.uses, role.when, _stack)
            for name, role in stack_roles().items()
        },
        "classes": Role("class_head with a norm", {"class_head": ""}, _normalizes),
        "words": Role(
            "vector_head of masked patches", {"vector_head": ""}, _predicts_patches
        ),
    },
    rows=(
        Drop("{path*}relative_position_index", "a constant: rows of the table"),
        Drop("mask_token", "this network masks no patches", "patches", _masks_nothing),
        Row("mask_token", "mask_token", "patches"),
        Row("cls_token", "cls", "patches"),
        Row("pos_embed", "position", "patches", resize=grid_positions_cubic),
        Row(f"patch_embed.proj.{LEAF}", "patch.proj.{leaf}", "patches"),
        *block_rows("", {"image": ""}),
        *norm_rows(""),
        Row(
            TABLE,
            "bias.image",
            "lower",
            BLOCK_TABLES,
            is_alone,
            relative_bias,
            over="layer",
            count="blocks",
        ),
        Row(
            TABLE,
            BOTH,
            "lower",
            BLOCK_TABLES,
            is_pair,
            relative_bias,
            over="layer",
            count="blocks",
        ),
        # Self-supervised files share one table among all blocks, fine-tuned ones have one for each.
        *alternative(_SHARED),
        Row(f"fc_norm.{LEAF}", "norm.{leaf}", "classes"),
        Row(f"head.{LEAF}", "out.{leaf}", "classes"),
        Row(f"lm_head.{LEAF}", "out.{leaf}", "words"),
    ),
    fresh=(
        *(
            Fresh(
                "blocks.{layer}.{part:norm2|mlp}.{expert:text|fused}.{rest*}",
                role,
                TEXT,
            )
            for role in ("lower", "upper")
        ),
        *(Fresh("bias.text", role, TEXT) for role in ("lower", "upper")),
        *(
            Fresh(
                "norm.{rest*}",
                role,
                "a fine-tuned BEiT has no final norm",
                lambda values: not values["stored_norm"],
            )
            for role in ("lower", "upper")
        ),
        Fresh(
            "mask_token",
            "patches",
            "a fine-tuned BEiT masks no patches",
            lambda values: not values["stored_mask"],
        ),
    ),
)
