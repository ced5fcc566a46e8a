"""CLIP's visual tower (arXiv 2103.00020) into image and video encoders."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mplug2.weights.families.mplug2 import INSIDE, Move, vision_name
from mplug2.weights.files import read_tensors
from mplug2.weights.hub import WEIGHTS, find_file, read_config
from mplug2.weights.load import Checkpoint, put
from mplug2.weights.report import LoadReport
from registry import UserError

if TYPE_CHECKING:
    from mplug2.network import Network

# the names that OpenAI gave its models, and where the same weights are as tensors alone
MODELS = {
    "ViT-B-32": "openai/clip-vit-base-patch32",
    "ViT-B-16": "openai/clip-vit-base-patch16",
    "ViT-L-14": "openai/clip-vit-large-patch14",
    "ViT-L-14-336": "openai/clip-vit-large-patch14-336",
}
FRESH = {
    "*.blocks.*.before.*": "CLIP has no temporal layers: they begin as the identity",
    "*.blocks.*.after.*": "CLIP has no temporal layers: they begin as the identity",
}
_HUGGING_FACE = {
    "embeddings.class_embedding": "class_embedding",
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.patch_embedding": "conv1",
    "pre_layrnorm": "ln_pre",
    "post_layernorm": "ln_post",
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "encoder.layers": "transformer.resblocks",
}


def from_clip(net: Network, what: str, wanted: Collection[str]) -> LoadReport:
    """Load the visual tower of a CLIP checkpoint: OpenAI's state dict, or a Hugging Face folder or name."""
    encoders = {
        name: INSIDE[entry.use]
        for name, entry in net.spec.modules.items()
        if entry.use in INSIDE and name in wanted
    }
    heads = 0
    if Path(what).is_file():
        tensors = read_tensors(what)
    else:
        where = MODELS.get(what, what)
        heads = _heads(read_config(where), what)
        tensors = read_tensors(find_file(where, WEIGHTS))
    tower = openai_names(tensors)
    for name, inside in encoders.items():
        _same_heads(net, name, inside, heads, tower)
    moves = [move for key in tower for move in _moves(key, encoders)]
    return put(net, Checkpoint(what, tower, moves, FRESH), wanted)


def openai_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A CLIP state dict under OpenAI's names; Hugging Face's query, key and value become one matrix."""
    prefix = "vision_model."
    if not any(key.startswith(prefix) for key in tensors):
        return dict(tensors)
    renamed: dict[str, Tensor] = {}
    for key, value in tensors.items():
        if not key.startswith(prefix) or key.endswith("position_ids"):
            renamed[key] = value
            continue
        name = key.removeprefix(prefix)
        if ".self_attn.q_proj." in name:
            parts = [tensors.get(key.replace("q_proj", part)) for part in ("q_proj", "k_proj", "v_proj")]
            if any(part is None for part in parts):
                continue  # then a weight of the network is reported as not in the file
            value = torch.cat([part for part in parts if part is not None])
            name = name.replace("self_attn.q_proj.", "attn.in_proj_")
        elif ".self_attn.k_proj." in name or ".self_attn.v_proj." in name:
            continue
        for theirs, ours in _HUGGING_FACE.items():
            name = name.replace(theirs, ours)
        renamed[f"visual.{name}"] = value
    return renamed


def _moves(key: str, encoders: Mapping[str, str]) -> Iterator[Move]:
    part, _, rest = key.partition(".")
    name = vision_name(rest) if part == "visual" else None
    if part != "visual":
        yield Move(key, reason="CLIP's text tower, or what joins it to the visual one")
    elif rest == "proj":
        yield Move(key, reason="CLIP's output projection: the encoders here end before it")
    elif name is None:
        yield Move(key, reason="not a key of CLIP's vision transformer")
    elif not encoders:
        yield Move(key, reason=f"no module here uses {' or '.join(INSIDE)}")
    else:
        for module, inside in encoders.items():
            yield Move(key, f"{module}.{inside}{name}")


def _heads(config: Mapping[str, Any], what: str) -> int:
    """The heads that a Hugging Face config tells; UserError where it is of another model than CLIP."""
    vision = config.get("vision_config", config)
    kind, activation = config.get("model_type"), vision.get("hidden_act", "quick_gelu")
    if kind not in ("clip", "clip_vision_model") or activation != "quick_gelu":
        raise UserError(
            f"{what}: must be a CLIP with the activation quick_gelu, but is a '{kind}' with '{activation}'"
        )
    return int(vision.get("num_attention_heads", 12))


def _same_heads(net: Network, name: str, inside: str, heads: int, tower: Mapping[str, Tensor]) -> None:
    """UserError where an encoder splits its width into other heads; OpenAI's have 64 channels each."""
    block: Any = net.get_submodule(f"{name}.{inside}blocks.0")
    width = tower["visual.class_embedding"].shape[-1] if "visual.class_embedding" in tower else 0
    heads = heads or max(1, width // 64)
    if width and block.attn.num_heads != heads:
        raise UserError(
            f"this CLIP has {heads} heads, but module '{name}' has {block.attn.num_heads}\n"
            f"    hint: `{name}: {{heads: {heads}}}`"
        )
