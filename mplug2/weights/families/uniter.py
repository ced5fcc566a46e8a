"""UNITER (arXiv 1909.11740): pre-trained and fine-tuned checkpoints of ChenRocks/UNITER, base and large.

Heads are distinguished by the names of their modules, listed in `HEADS`, since their shapes are equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mplug2.weights.families.pieces import LEAF, bert_embeddings, bert_layers
from mplug2.weights.keymap import Drop, KeyMap, Role, Row
from mplug2.weights.shape_fixes import repeat_last_row
from mplug2.weights.transforms import TRANSPOSE, concat
from registry import Spec

if TYPE_CHECKING:
    from mplug2.weights.keymap import Facts, Values

# The module names of heads, and how the released names of their weights begin.
HEADS = {
    "mlm_head": "cls.predictions",
    "region_regression": "feat_regress",
    "region_classifier": "region_classifier",
    "itm_head": "itm_output",
    "rank_head": "rank_output",
    "vqa_head": "vqa_output",
    "nlvr2_head": "nlvr2_output",
    "region_head": "re_output",
}
USES = {"region_head": "token_scores"}  # all others are vector heads
IMAGE = "uniter.img_embeddings."
NO_HEAD = "no module here is named as this head, or the head is another one"


def _is_named(name: str) -> Callable[[Spec, str], bool]:
    return lambda spec, module: module == name


def _head_role(name: str) -> Role:
    use = USES.get(name, "vector_head")
    return Role(f"{use} named {name}", {use: ""}, _is_named(name), _depth)


def _depth(facts: Facts, module: str) -> Values:
    return {"depth": facts.argument(module, "depth", 2)}


def _is_linear(values: Values) -> bool:
    return bool(values["depth"] == 1)


def _has_two_layers(values: Values) -> bool:
    return bool(values["depth"] == 2)


def _image_rows() -> tuple[Row, ...]:
    pairs = (
        (f"img_linear.{LEAF}", "feature.{leaf}"),
        (f"img_layer_norm.{LEAF}", "feature_norm.{leaf}"),
        (f"pos_linear.{LEAF}", "location.{leaf}"),
        (f"pos_layer_norm.{LEAF}", "location_norm.{leaf}"),
        ("mask_embedding.weight", "mask.weight"),
        (f"LayerNorm.{LEAF}", "norm.{leaf}"),
    )
    return tuple(Row(IMAGE + theirs, ours, "regions") for theirs, ours in pairs)


def _word_rows() -> tuple[Row, ...]:
    released = "cls.predictions."
    return (
        Row(f"{released}bias", "out.bias", "mlm_head"),
        Row(f"{released}transform.dense.{LEAF}", "dense.{leaf}", "mlm_head"),
        Row(f"{released}transform.LayerNorm.{LEAF}", "norm.{leaf}", "mlm_head"),
        Row(f"{released}decoder.weight", "out.weight", "mlm_head"),
    )


def _regression_rows() -> tuple[Row, ...]:
    """Return the rows of masked features: the last matrix is that of the image embedding, transposed."""
    return (
        Row(f"feat_regress.net.0.{LEAF}", "dense.{leaf}", "region_regression"),
        Row(f"feat_regress.net.2.{LEAF}", "norm.{leaf}", "region_regression"),
        Row("feat_regress.weight", "out.weight", "region_regression", TRANSPOSE),
        Row("feat_regress.bias", "out.bias", "region_regression"),
    )


def _head_rows(name: str, net: str = "") -> tuple[Row, ...]:
    """Return the rows of a head of one or of two layers; ``net``: the released name of the layers."""
    released = f"{HEADS[name]}.{net}"
    return (
        Row(f"{HEADS[name]}.{LEAF}", "out.{leaf}", name, where=_is_linear),
        Row(f"{released}0.{LEAF}", "dense.{leaf}", name, where=_has_two_layers),
        Row(f"{released}2.{LEAF}", "norm.{leaf}", name, where=_has_two_layers),
        Row(f"{released}3.{LEAF}", "out.{leaf}", name, where=_has_two_layers),
    )


def _attention_rows() -> tuple[Row, ...]:
    """Return the rows of the paired attention over two images; torch keeps three matrices in one."""
    rows: tuple[Row, ...] = ()
    for theirs, ours in (("attn1", "left_to_right"), ("attn2", "right_to_left")):
        parts = tuple(f"{ours}.{part}.{{leaf}}" for part in ("query", "key", "value"))
        rows += (
            Row(f"{theirs}.in_proj_{LEAF}", parts, "pair", concat().inverse),
            Row(f"{theirs}.out_proj.{LEAF}", f"{ours}.out.{{leaf}}", "pair"),
        )
    return (
        *rows,
        Row(f"fc.0.{LEAF}", "fuse.{leaf}", "pair"),
        Row(f"attn_pool.fc.0.{LEAF}", "pool.{leaf}", "pair"),
    )


def _rows() -> tuple[Row, ...]:
    words = "uniter.embeddings."
    embeddings = bert_embeddings(words, "", "words")
    types = Row(
        f"{words}token_type_embeddings.weight",
        "kind.weight",
        "words",
        resize=repeat_last_row,
    )
    kept = tuple(row for row in embeddings if row.released != types.released)
    return (
        *kept,
        types,
        *_image_rows(),
        *bert_layers("uniter.encoder.layer.{layer}.", "layers.{layer}.", "encoder"),
        Row(f"uniter.pooler.dense.{LEAF}", "dense.{leaf}", "pooler"),
        *_word_rows(),
        *_regression_rows(),
        *_head_rows("region_classifier", "net."),
        *_head_rows("itm_head"),
        *_head_rows("rank_head"),
        *_head_rows("vqa_head"),
        *_head_rows("nlvr2_head"),
        *_head_rows("region_head"),
        *_attention_rows(),
    )


KEY_MAP = KeyMap(
    title="UNITER",
    source="FILE",
    roles={
        "words": Role("text_embedding", {"text_embedding": ""}),
        "regions": Role("region_embedding", {"region_embedding": ""}),
        "encoder": Role("text_encoder", {"text_encoder": ""}),
        "pooler": Role("pooler", {"pooler": ""}),
        "pair": Role("pair_attention", {"pair_attention": ""}),
        **{name: _head_role(name) for name in HEADS},
    },
    renames=(
        # Files that began from the first BERT of TensorFlow keep its names.
        ("{path*}LayerNorm.gamma", "{path}LayerNorm.weight"),
        ("{path*}LayerNorm.beta", "{path}LayerNorm.bias"),
        ("bert.{rest*}", "uniter.{rest}"),
    ),
    rows=(
        *_rows(),
        # Last: only what no head above has taken.
        Drop(f"{{name:{'|'.join(HEADS.values())}|fc|attn\\w+}}.{{rest*}}", NO_HEAD),
    ),
    wrapper="",
)
