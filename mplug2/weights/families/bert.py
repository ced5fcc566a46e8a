"""BERT (arXiv 1810.04805) from a Hugging Face folder, into everything that is made of its layers.

As mPLUG and mPLUG-2 begin: words take the embeddings, the text encoder the first layers, the universal layers
those after it, fusion the last layers, the decoder the first ones and the word head. Cross-attention is
fresh.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from mplug2.weights.families.pieces import bert_embeddings, bert_layers, word_head
from mplug2.weights.keymap import Drop, Facts, Fresh, KeyMap, Role, Row, Values
from registry import Spec, UserError

if TYPE_CHECKING:
    from mplug2.network import Network
    from mplug2.weights.files import Released

LAYERED = ("text", "universal", "fusion", "decoder")  # the roles that take layers
USES = {
    "text": "text_encoder",
    "universal": "universal",
    "fusion": "fusion",
    "decoder": "text_decoder",
}
LAYER = "encoder.layer.{layer}."


def _stored(config: dict[str, Any]) -> int:
    return int(config.get("num_hidden_layers", 12))


def _text_depths(spec: Spec) -> list[int]:
    """Return the different depths of the text encoders, in order."""
    depths = set()
    for entry in spec.modules.values():
        if entry.use == USES["text"]:
            depths.add(entry.arguments["depth"])
    return sorted(depths)


def _layers(facts: Facts, module: str) -> Values:
    """Return how many layers a module takes, and BERT's layer that becomes its layer 0."""
    layers: Any = facts.net.get_submodule(f"{module}.layers")
    depth, first = len(layers), 0
    stored = _stored(facts.config)
    use = facts.use(module)
    if use == USES["fusion"]:
        # The last layers, whatever the depth of the text encoder.
        first = stored - depth
    elif use == USES["universal"]:
        first = max(_text_depths(facts.spec), default=stored - depth)
    has_head = any(key.startswith("cls.predictions.") for key in facts.shapes)
    return {"depth": depth, "first": first, "has_head": has_head}


def _types(facts: Facts, module: str) -> Values:
    """Return the size of a module's table of segments."""
    return {"types": facts.argument(module, "types", 2)}


def _is_inside(values: Values) -> bool:
    return bool(0 <= values["layer"] - values["first"] < values["depth"])


def _rows_of_layers() -> tuple[Row, ...]:
    rows: tuple[Row, ...] = ()
    for role in LAYERED:
        rows += bert_layers(LAYER, "layers.{layer-first}.", role, _is_inside)
    return rows


def _open(where: str) -> Released:
    from dataclasses import replace

    from mplug2.weights.files import read_released
    from mplug2.weights.hub import WEIGHTS, find_file, read_config

    config = read_config(where)
    kind, activation = config.get("model_type"), config.get("hidden_act", "gelu")
    position = config.get("position_embedding_type", "absolute")
    # The layers here compute nothing else: the same weights would be another network.
    if (kind, activation, position) != ("bert", "gelu", "absolute"):
        raise UserError(
            f"{where}: must be a BERT with activation gelu and absolute positions, but is a '{kind}' with "
            f"'{activation}' and '{position}'"
        )
    return replace(
        read_released(find_file(where, WEIGHTS)), origin=where, config=config
    )


def _check(net: Network, released: Released, module_names: Collection[str]) -> None:
    """Raise UserError if a module takes layers that this BERT does not have, or has other heads."""
    config = dict(released.config)
    facts = Facts(net, {}, config)
    for name in net.spec.modules:
        use = facts.use(name)
        if name not in module_names or use not in USES.values():
            continue
        depths = _text_depths(net.spec)
        if use == USES["universal"] and len(depths) > 1:
            raise UserError(
                f"'{name}' takes the layers after the text encoder's, but the text encoders have depths "
                f"{', '.join(map(str, depths))}"
            )
        numbers = _layers(facts, name)
        depth, first = numbers["depth"], numbers["first"]
        if first < 0 or first + depth > _stored(config):
            raise UserError(
                f"{released.origin}: module '{name}' ({use}) takes {depth} layers from layer {max(first, 0)} "
                f"on, but this BERT has {_stored(config)}"
            )
        _check_heads(net, name, int(config.get("num_attention_heads", 12)))


def _check_heads(net: Network, name: str, heads: int) -> None:
    # No shape shows the number of heads: it must be compared.
    layer: Any = net.get_submodule(f"{name}.layers.0")
    if layer.attention.heads != heads:
        raise UserError(
            f"this BERT has {heads} heads, but module '{name}' has {layer.attention.heads}\n"
            f"    hint: `{name}: {{heads: {heads}}}`"
        )


KEY_MAP = KeyMap(
    title="BERT",
    source="NAME_OR_FOLDER",
    roles={
        "words": Role(
            "text_embedding", {"text_embedding": ""}, numbers=_types, many=True
        ),
        **{
            role: Role(USES[role], {USES[role]: ""}, numbers=_layers, many=True)
            for role in LAYERED
        },
    },
    renames=(
        ("bert.{rest*}", "{rest}"),
        # As the first release of TensorFlow named them.
        ("{path*}LayerNorm.gamma", "{path}LayerNorm.weight"),
        ("{path*}LayerNorm.beta", "{path}LayerNorm.bias"),
    ),
    rows=(
        *bert_embeddings(
            "embeddings.", "", "words", has_types=lambda values: bool(values["types"])
        ),
        *bert_embeddings("embeddings.", "embedding.", "decoder"),
        Drop("embeddings.position_ids", "a constant: 0, 1, 2, ..."),
        Drop("embeddings.{rest*}", "no module here takes BERT's embeddings"),
        *_rows_of_layers(),
        Drop(LAYER + "{rest*}", "no module here takes this layer"),
        *word_head("cls.predictions.", "decoder"),
        Drop("cls.predictions.{rest*}", "no module here takes BERT's word head"),
        Drop(
            "{part:pooler|cls\\.seq_relationship}.{rest*}",
            "of BERT's task with pairs of sentences, which no module here has",
        ),
        Drop("{name*}", "not a key of BERT that is used here"),
    ),
    fresh=(
        *(
            Fresh("{path*}.cross.{rest*}", role, "BERT has no cross-attention")
            for role in LAYERED
        ),
        Fresh("latents", "universal", "BERT has no visual route"),
        Fresh("norm.{rest*}", "universal", "BERT has no visual route"),
        Fresh(
            "head.{rest*}",
            "decoder",
            "this BERT was stored without its word head",
            lambda values: not values["has_head"],
        ),
    ),
    open=_open,
    check=_check,
    read_only="several modules begin with the same layers of BERT",
)
