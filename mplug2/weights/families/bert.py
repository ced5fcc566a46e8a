"""BERT (arXiv 1810.04805) from a Hugging Face folder, into everything that is made of its layers.

As mPLUG and mPLUG-2 begin: words take the embeddings, the text encoder the first layers, the universal layers
those after it, fusion the last layers, the decoder the first ones and the word head. Cross-attention is
fresh.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mplug2.weights.families.mplug2 import Move, embedding_name, head_name, layer_name
from mplug2.weights.files import read_tensors
from mplug2.weights.hub import WEIGHTS, find_file, read_config
from mplug2.weights.load import Checkpoint, put
from mplug2.weights.report import LoadReport
from registry import UserError

if TYPE_CHECKING:
    from mplug2.network import Network

LAYERED = ("text_encoder", "universal", "fusion", "text_decoder")
# as the first release of TensorFlow named them
OLD = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


@dataclass(frozen=True)
class Taker:
    """A module that takes layers: BERT's layer ``first`` becomes its layer 0."""

    name: str
    use: str
    depth: int
    first: int


def from_bert(net: Network, what: str, wanted: Collection[str]) -> LoadReport:
    """Load a BERT, from a folder with ``config.json`` and its weights or by its name, into what uses it."""
    config = read_config(what)
    kind, activation = config.get("model_type"), config.get("hidden_act", "gelu")
    position = config.get("position_embedding_type", "absolute")
    if (kind, activation, position) != ("bert", "gelu", "absolute"):
        raise UserError(
            f"{what}: must be a BERT with activation gelu and absolute positions, but is a '{kind}' with "
            f"'{activation}' and '{position}'"
        )
    tensors = read_tensors(find_file(what, WEIGHTS))
    takers = _takers(net, wanted, int(config.get("num_hidden_layers", 12)), what)
    for taker in takers:
        _same_heads(net, taker.name, int(config.get("num_attention_heads", 12)))
    words = [name for name in wanted if net.spec.modules[name].use == "text_embedding"]
    moves = [move for key in tensors for move in _moves(key, takers, words)]
    fresh = {"*.cross.*": "BERT has no cross-attention"}
    for taker in takers:
        if taker.use == "universal":
            fresh |= dict.fromkeys(
                (f"{taker.name}.latents", f"{taker.name}.norm.*"), "BERT has no visual route"
            )
        if taker.use == "text_decoder" and not any(
            move.target.startswith(f"{taker.name}.head") for move in moves
        ):
            fresh[f"{taker.name}.head.*"] = "this BERT was stored without its word head"
    return put(net, Checkpoint(what, tensors, moves, fresh), wanted)


def _takers(net: Network, wanted: Collection[str], stored: int, what: str) -> list[Taker]:
    """The modules that take layers, and from where; UserError where BERT has not as many."""
    modules = net.spec.modules
    depths = {entry.arguments["depth"] for entry in modules.values() if entry.use == "text_encoder"}
    takers = []
    for name in wanted:
        use = modules[name].use
        if use not in LAYERED:
            continue
        layers: Any = net.get_submodule(f"{name}.layers")
        depth, first = len(layers), 0
        if use == "fusion":
            first = stored - depth
        elif use == "universal":
            if len(depths) > 1:
                raise UserError(
                    f"'{name}' takes the layers after the text encoder's, but the text encoders have depths "
                    f"{', '.join(map(str, sorted(depths)))}"
                )
            first = max(depths, default=stored - depth)
        if first < 0 or first + depth > stored:
            raise UserError(
                f"{what}: module '{name}' ({use}) takes {depth} layers from layer {max(first, 0)} on, "
                f"but this BERT has {stored}"
            )
        takers.append(Taker(name, use, depth, first))
    return takers


def _moves(key: str, takers: list[Taker], words: list[str]) -> Iterator[Move]:
    """Everywhere that one key goes, or the reason why it goes nowhere."""
    name = key.removeprefix("bert.")
    for theirs, ours in OLD.items():
        name = name.replace(theirs, ours)
    decoders = [one.name for one in takers if one.use == "text_decoder"]
    targets: list[str] = []
    reason = "not a key of BERT that is used here"
    if name.startswith("embeddings."):
        inner = embedding_name(name.removeprefix("embeddings."))
        if inner is not None:
            targets = [f"{module}.{inner}" for module in words]
            targets += [f"{module}.embedding.{inner}" for module in decoders]
            reason = "no module here takes BERT's embeddings"
    elif name.startswith("cls.predictions."):
        inner = head_name(name.removeprefix("cls.predictions."))
        targets = [f"{module}.{inner}" for module in decoders if inner]
        reason = "no module here takes BERT's word head"
    elif found := re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)", name):
        index, inner = int(found[1]), layer_name(found[2])
        targets = [
            f"{one.name}.layers.{index - one.first}.{inner}"
            for one in takers
            if inner and 0 <= index - one.first < one.depth
        ]
        reason = "no module here takes this layer"
    elif name.startswith(("pooler.", "cls.seq_relationship.")):
        reason = "of BERT's task with pairs of sentences, which no module here has"
    yield from (Move(key, target) for target in targets)
    if not targets:
        yield Move(key, reason=reason)


def _same_heads(net: Network, name: str, heads: int) -> None:
    layer: Any = net.get_submodule(f"{name}.layers.0")
    if layer.attention.heads != heads:
        raise UserError(
            f"this BERT has {heads} heads, but module '{name}' has {layer.attention.heads}\n"
            f"    hint: `{name}: {{heads: {heads}}}`"
        )
