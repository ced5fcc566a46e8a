"""The released mPLUG-2 key names, and the names of the same weights here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

INSIDE = {"video_vit": "", "image_vit": "body."}  # where an encoder keeps CLIP's tower

# What a released checkpoint stores and the network never reads (reference: measured by gradients).
DEAD = (
    (r"visual_encoder\.(positional_embedding|text_projection|logit_scale|token_embedding\.)",
     "CLIP's text tower, not part of mPLUG-2"),
    (r"visual_encoder\.(transformer\.|ln_final\.)", "CLIP's text tower, not part of mPLUG-2"),
    (r"visual_encoder\.visual\.proj$", "CLIP's output projection, not used by mPLUG-2"),
    (r".*\.(intermediate_vision|output_vision)\.", "a second feed-forward, never run"),
    (r".*\.position_ids$", "a constant: 0, 1, 2, ..."),
    (r"fusion_encoder\.embeddings\.", "fusion layers read tokens, not words"),
    (r"text_decoder\..*\.latents$", "latents of a decoder layer, never run"),
)  # fmt: skip

_VIT = {
    "class_embedding": "stem.cls",
    "positional_embedding": "stem.position",
    "conv1.weight": "stem.patch.proj.weight",
    "ln_pre": "stem.norm",
    "ln_post": "norm",
}
_VIT_BLOCK = {
    "attn.in_proj_weight": "attn.qkv.weight",
    "attn.in_proj_bias": "attn.qkv.bias",
    "attn.out_proj": "attn.proj",
    "ln_1": "norm1",
    "ln_2": "norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    **{
        f"{official}.{theirs}": f"{ours}.{mine}"
        for official, ours in (("lmhra1", "before"), ("lmhra2", "after"))
        for theirs, mine in (
            ("ln", "norm"),
            ("down_proj", "down"),
            ("up_proj", "up"),
            ("conv.weight", "kernel"),
            ("conv.bias", "kernel_bias"),
        )
    },
}
_BERT_LAYER = {
    f"{official}.{theirs}": f"{ours}.{mine}"
    for official, ours in (("attention", "attention"), ("crossattention", "cross"))
    for theirs, mine in (
        ("self.query", "query"),
        ("self.key", "key"),
        ("self.value", "value"),
        ("output.dense", "out"),
        ("output.LayerNorm", "norm"),
    )
} | {"intermediate.dense": "feed.up", "output.dense": "feed.down", "output.LayerNorm": "feed.norm"}
_EMBEDDING = {
    "word_embeddings": "word",
    "position_embeddings": "position",
    "token_type_embeddings": "kind",
    "LayerNorm": "norm",
}
_HEAD = {
    "transform.dense": "head.dense",
    "transform.LayerNorm": "head.norm",
    "bias": "head.bias",
    "decoder.bias": "head.bias",
    "decoder.weight": "embedding.word.weight",
}


def _rename(name: str, table: Mapping[str, str]) -> str | None:
    """``name`` with the longest prefix that ``table`` knows replaced; None if it knows none."""
    for prefix in sorted(table, key=len, reverse=True):
        if name == prefix or name.startswith(prefix + "."):
            return table[prefix] + name[len(prefix) :]
    return None


def layer_name(name: str) -> str | None:
    """BERT's name of a weight in one layer, as the layers here call it; None if it is none."""
    return _rename(name, _BERT_LAYER)


def embedding_name(name: str) -> str | None:
    """BERT's name of a weight of its embeddings, as the embedding here calls it; None if it is none."""
    return _rename(name, _EMBEDDING)


def head_name(name: str) -> str | None:
    """BERT's name of a weight of its word head, as the decoder here calls it; None if it is none."""
    return _rename(name, _HEAD)


@dataclass(frozen=True)
class Roles:
    """Which module of a composition plays which part of the released network, with its depth."""

    vision: str | None = None
    vision_use: str = "video_vit"
    project: str | None = None
    words: str | None = None
    text: str | None = None
    text_depth: int = 0
    universal: str | None = None
    universal_depth: int = 2
    fusion: str | None = None
    fusion_depth: int = 0
    fusion_stride: int = 1000
    decoder: str | None = None
    decoder_depth: int = 0

    @classmethod
    def of(cls, modules: Mapping[str, tuple[str, Mapping[str, Any]]]) -> Roles:
        """Find the parts among ``{name: (use, arguments)}``; ValueError where two modules could be one
        part."""
        uses = {
            **dict.fromkeys(INSIDE, "vision"), "project": "project", "text_embedding": "words",
            "text_encoder": "text", "universal": "universal", "fusion": "fusion", "text_decoder": "decoder",
        }  # fmt: skip
        found: dict[str, Any] = {}
        for name, (use, arguments) in modules.items():
            role = uses.get(use)
            if role is None:
                continue
            if role in found:
                raise ValueError(
                    f"a released checkpoint has one {use}, but modules {found[role]} and {name} both use it"
                )
            found[role] = name
            if role == "vision":
                found["vision_use"] = use
            if role in ("text", "universal", "fusion", "decoder"):
                found[f"{role}_depth"] = arguments.get("depth", 2)
            if role == "fusion":
                found["fusion_stride"] = arguments.get("stride", 1000)
        return cls(**found)


@dataclass(frozen=True)
class Move:
    """Where one official key goes: to ``target``, or nowhere for ``reason``."""

    source: str
    target: str = ""
    reason: str = ""


def plan_moves(keys: Iterable[str], roles: Roles) -> list[Move]:
    """Say for each official key (without ``_m``) where it goes in a network of these ``roles``."""
    keys = list(keys)
    stored = Stored(
        text=max(_layers(keys, "text_encoder", ""), default=-1) + 1,
        fusion=max(_layers(keys, "fusion_encoder", ""), default=-1) + 1,
        latents=min(_layers(keys, "text_encoder", "latents"), default=-1),
    )
    return [_move(key, roles, stored) for key in keys]


@dataclass(frozen=True)
class Stored:
    """How many text and fusion layers a checkpoint holds, and which text layer's latents are read."""

    text: int
    fusion: int
    latents: int


def _layers(keys: list[str], part: str, name: str) -> list[int]:
    pattern = re.compile(rf"{part}\.(?:bert\.)?encoder\.layer\.(\d+)\.{name}")
    return [int(found[1]) for key in keys if (found := pattern.match(key))]


def _move(key: str, roles: Roles, stored: Stored) -> Move:
    for pattern, reason in DEAD:
        if re.match(pattern, key):
            return Move(key, reason=reason)
    part, _, rest = key.partition(".")
    match part:
        case "visual_encoder":
            return _vision(key, rest.removeprefix("visual."), roles)
        case "visn_fc":
            return _to(key, roles.project, f"linear.{rest}", "project")
        case "visn_layer_norm":
            return _to(key, roles.project, f"norm.{rest}", "project")
        case "visn_emb_norm":
            return _to(key, roles.universal, f"norm.{rest}", "universal")
        case "text_encoder" if rest.startswith("embeddings."):
            return _to(key, roles.words, embedding_name(rest.removeprefix("embeddings.")), "text_embedding")
        case "text_encoder":
            return _text(key, rest, roles, stored)
        case "fusion_encoder":
            return _fusion(key, rest, roles, stored.fusion)
        case "text_decoder":
            return _to(key, roles.decoder, _decoder(rest), "text_decoder")
    return Move(key, reason="not a key of mPLUG-2")


def _to(key: str, module: str | None, name: str | None, use: str) -> Move:
    if name is None:
        return Move(key, reason="not a key of mPLUG-2")
    if module is None:
        return Move(key, reason=f"this network has no {use}")
    return Move(key, f"{module}.{name}")


def _layer(rest: str) -> tuple[int, str] | None:
    found = re.match(r"(?:bert\.)?encoder\.layer\.(\d+)\.(.+)", rest)
    return (int(found[1]), found[2]) if found else None


def vision_name(rest: str) -> str | None:
    """CLIP's name of a weight of its visual tower, as the encoders here call it; None if it is none."""
    if found := re.match(r"transformer\.resblocks\.(\d+)\.(.+)", rest):
        name = _rename(found[2], _VIT_BLOCK)
        return name and f"blocks.{found[1]}.{name}"
    return _rename(rest, _VIT)


def _vision(key: str, rest: str, roles: Roles) -> Move:
    if roles.vision_use == "image_vit" and re.search(r"\.lmhra\d\.", rest):
        return Move(key, reason="a temporal layer, which an encoder of images has not")
    name = vision_name(rest)
    return _to(key, roles.vision, name and INSIDE[roles.vision_use] + name, "video_vit or image_vit")


def _text(key: str, rest: str, roles: Roles, stored: Stored) -> Move:
    if (layer := _layer(rest)) is None:
        return Move(key, reason="not a key of mPLUG-2")
    index, name = layer
    first = stored.text - roles.universal_depth
    if index >= first:
        if name == "latents" and index != stored.latents:
            return Move(key, reason="latents of a later layer, never run")
        if name == "latents":
            return _to(key, roles.universal, "latents", "universal")
        renamed = layer_name(name)
        return _to(key, roles.universal, renamed and f"layers.{index - first}.{renamed}", "universal")
    renamed = layer_name(name)
    return _to(key, roles.text, renamed and f"layers.{index}.{renamed}", "text_encoder")


def _fusion(key: str, rest: str, roles: Roles, stored: int) -> Move:
    if (layer := _layer(rest)) is None:
        return Move(key, reason="not a key of mPLUG-2")
    index, name = layer
    r = index - (stored - roles.fusion_depth)
    if roles.fusion is not None and r < 0:
        return Move(key, reason=f"only the last {roles.fusion_depth} stored fusion layers run")
    if name.startswith("crossattention.") and r > 0 and r % roles.fusion_stride == 0:
        return Move(key, reason="a connected layer has no cross-attention")
    renamed = layer_name(name)
    return _to(key, roles.fusion, renamed and f"layers.{r}.{renamed}", "fusion")


def _decoder(rest: str) -> str | None:
    if layer := _layer(rest):
        renamed = layer_name(layer[1])
        return renamed and f"layers.{layer[0]}.{renamed}"
    if rest.startswith("bert.embeddings."):
        renamed = embedding_name(rest.removeprefix("bert.embeddings."))
        return renamed and f"embedding.{renamed}"
    if rest.startswith("cls.predictions."):
        return head_name(rest.removeprefix("cls.predictions."))
    return None
