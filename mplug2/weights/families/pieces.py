"""Rows that several families share: CLIP's vision transformer and BERT's layers, embeddings and word head."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mplug2.weights.keymap import Row, Values, Where
from mplug2.weights.shape_fixes import first_rows, grid_positions, tubes
from mplug2.weights.transforms import IDENTITY, Transform, leading

if TYPE_CHECKING:
    from torch import Tensor

LEAF = "{leaf:weight|bias}"
# Where the encoders here keep CLIP's tower.
VISION = {"video_vit": "", "image_vit": "body."}
VISION_LABEL = "video_vit or image_vit"


def clip_tower(
    released: str, role: str, patches: Transform = IDENTITY
) -> tuple[Row, ...]:
    """Return the rows of CLIP's visual tower in OpenAI's names; ``released`` is the prefix of the names.

    ``patches``: the transform of the patch kernel.
    """
    return (
        # (width) -> (1, 1, width)
        Row(f"{released}class_embedding", "stem.cls", role, leading(2)),
        Row(
            f"{released}positional_embedding",
            "stem.position",
            role,
            leading(1),
            resize=grid_positions,
        ),
        Row(
            f"{released}conv1.weight",
            "stem.patch.proj.weight",
            role,
            patches,
            resize=tubes,
        ),
        Row(f"{released}ln_pre.{LEAF}", "stem.norm.{leaf}", role),
        Row(f"{released}ln_post.{LEAF}", "norm.{leaf}", role),
        *clip_blocks(released, role),
    )


def clip_blocks(released: str, role: str) -> tuple[Row, ...]:
    """Return the rows of the blocks of either of CLIP's towers in OpenAI's names."""
    block = f"{released}transformer.resblocks.{{layer}}."
    pairs = (
        ("attn.in_proj_{leaf:weight|bias}", "attn.qkv.{leaf}"),
        (f"attn.out_proj.{LEAF}", "attn.proj.{leaf}"),
        (f"ln_1.{LEAF}", "norm1.{leaf}"),
        (f"ln_2.{LEAF}", "norm2.{leaf}"),
        (f"mlp.c_fc.{LEAF}", "mlp.fc1.{leaf}"),
        (f"mlp.c_proj.{LEAF}", "mlp.fc2.{leaf}"),
    )
    rows = [
        Row(block + theirs, f"blocks.{{layer}}.{ours}", role) for theirs, ours in pairs
    ]
    return tuple(rows)


def bert_layers(
    released: str, ours: str, role: str, where: Where | None = None
) -> tuple[Row, ...]:
    """Return the rows of BERT's layers without cross-attention.

    ``released``, ``ours``: the prefix of the names, with the hole ``{layer}``.
    """
    pairs = (
        *_attention("attention", "attention"),
        (f"intermediate.dense.{LEAF}", "feed.up.{leaf}"),
        (f"output.dense.{LEAF}", "feed.down.{leaf}"),
        (f"output.LayerNorm.{LEAF}", "feed.norm.{leaf}"),
    )
    return tuple(
        Row(released + theirs, ours + name, role, where=where) for theirs, name in pairs
    )


def cross_attention(
    released: str, ours: str, role: str, where: Where | None = None
) -> tuple[Row, ...]:
    """Return the rows of the cross-attention in BERT's layers, as mPLUG adds it."""
    pairs = _attention("crossattention", "cross")
    return tuple(
        Row(released + theirs, ours + name, role, where=where) for theirs, name in pairs
    )


def bert_embeddings(
    released: str, ours: str, role: str, has_types: Where | None = None
) -> tuple[Row, ...]:
    """Return the rows of BERT's embeddings; longer tables of positions are cut.

    ``has_types``: whether a module has embeddings of segments.
    """
    return (
        Row(f"{released}word_embeddings.weight", f"{ours}word.weight", role),
        Row(
            f"{released}position_embeddings.weight",
            f"{ours}position.weight",
            role,
            resize=first_rows,
        ),
        Row(
            f"{released}token_type_embeddings.weight",
            f"{ours}kind.weight",
            role,
            where=has_types,
        ),
        Row(f"{released}LayerNorm.{LEAF}", f"{ours}norm.{{leaf}}", role),
    )


def word_head(released: str, role: str) -> tuple[Row, ...]:
    """Return the rows of BERT's word head; the tied matrix and bias are stored under two names each."""
    return (
        Row(f"{released}bias", "head.bias", role),
        Row(f"{released}transform.dense.{LEAF}", "head.dense.{leaf}", role),
        Row(f"{released}transform.LayerNorm.{LEAF}", "head.norm.{leaf}", role),
        # Last, since these win if the two differ: the released loaders read them later.
        Row(f"{released}decoder.weight", "embedding.word.weight", role),
        Row(f"{released}decoder.bias", "head.bias", role),
    )


def alternative(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Return rows as a second spelling: read, and written only if the original has it."""
    return tuple(replace(row, alternative=True) for row in rows)


def position_ids(values: Values) -> Tensor:
    """Return BERT's buffer of max_positions: 0, 1, 2, ..., of shape (1, positions)."""
    import torch

    return torch.arange(int(values["positions"]))[None]


def _attention(released: str, ours: str) -> tuple[tuple[str, str], ...]:
    projections = ("query", "key", "value")
    return (
        *(
            (f"{released}.self.{name}.{LEAF}", f"{ours}.{name}.{{leaf}}")
            for name in projections
        ),
        (f"{released}.output.dense.{LEAF}", f"{ours}.out.{{leaf}}"),
        (f"{released}.output.LayerNorm.{LEAF}", f"{ours}.norm.{{leaf}}"),
    )
