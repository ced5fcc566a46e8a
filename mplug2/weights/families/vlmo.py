"""Released VLMo checkpoints (arXiv 2111.02358): the text stage, pre-training, and every fine-tuned task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mplug2.weights.bias_resize import relative_bias
from mplug2.weights.families.mplug import input_kinds
from mplug2.weights.families.multiway import (
    EXPERTS,
    block_rows,
    is_alone,
    is_pair,
    norm_rows,
    numbers,
    stack_roles,
)
from mplug2.weights.families.pieces import LEAF, position_ids
from mplug2.weights.keymap import Drop, Facts, Fresh, KeyMap, Resize, Role, Row, Values
from mplug2.weights.shape_fixes import first_rows, grid_positions_cubic, repeat_last_row
from mplug2.weights.transforms import BIAS_TABLE, leading
from registry import Spec
from registry.language.equation import Literal

if TYPE_CHECKING:
    from torch import Tensor

FUSED = "transformer.blocks.{layer}.{part:norm2_vl|mlp_vl}.{rest*}"


def _reads_fused(spec: Spec, module: str) -> bool:
    """Return whether a module's inputs come from the fused experts."""
    # Backwards through the flow, from what the module reads to a line that calls the fused experts.
    waiting: list[str] = []
    for line in spec.flow.values():
        if line.callee == module:
            waiting += [ref.stream for ref in line.refs()]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in spec.flow:
            continue
        seen.add(name)
        line = spec.flow[name]
        expert = line.keywords.get("expert")
        if isinstance(expert, Literal) and expert.value == "fused":
            return True
        waiting += [ref.stream for ref in line.refs()]
    return False


def _head(text: bool, fused: bool) -> Role:
    """Return the role of one of the four projections of the contrastive losses."""

    def when(spec: Spec, module: str) -> bool:
        reads_text = "text" in input_kinds(spec, module)
        return reads_text == text and _reads_fused(spec, module) == fused

    label = f"feature_head of {'text' if text else 'images'}, {'fused' if fused else 'own'} experts"
    return Role(label, {"feature_head": ""}, when)


def _contrast(fused: bool) -> Role:
    def when(spec: Spec, module: str) -> bool:
        return _reads_fused(spec, module) == fused

    return Role(
        f"contrastive of {'fused' if fused else 'own'} experts",
        {"contrastive": ""},
        when,
    )


def _head_of_words(spec: Spec, module: str) -> bool:
    arguments = spec.modules[module].arguments
    return arguments.get("depth", 2) == 2 and arguments.get("norm", "after") == "after"


def _has_one_layer(spec: Spec, module: str) -> bool:
    return spec.modules[module].arguments.get("depth", 2) == 1


def _classifier(pair: bool) -> Role:
    """Return the role of the classifier of one vector, or of two that are concatenated."""

    def when(spec: Spec, module: str) -> bool:
        if spec.modules[module].arguments.get("norm", "after") != "before":
            return False
        sources: list[str] = []
        for line in spec.flow.values():
            if line.callee == module:
                sources += [spec.flow[ref.stream].callee for ref in line.refs()]
        # NLVR2 is about two images, whose vectors are concatenated.
        return ("concat_vectors" in sources) == pair

    return Role(
        f"vector_head of {'two vectors' if pair else 'one vector'}",
        {"vector_head": ""},
        when,
    )


def _words(facts: Facts, module: str) -> Values:
    return {
        "positions": facts.argument(module, "max_positions", 512),
        "width": facts.argument(module, "width", 0),
        "absolute": facts.argument(module, "position", "absolute") == "absolute",
    }


def _stack(facts: Facts, module: str) -> Values:
    # Only files after the text stage hold the experts of image-text pairs.
    stored = any(".mlp_vl." in key for key in facts.shapes)
    return {**numbers(facts, module), "stored_fused": stored}


def _has_no_fused(values: Values) -> bool:
    return "fused" not in values["experts"]


def _unused_positions(values: Values) -> Tensor:
    """Return the table of positions that a network with relative positions stores and never reads."""
    import torch

    # Zeros do: nothing reads them.
    return torch.zeros(int(values["positions"]), int(values["width"]))


def _classifier_rows(released: str, role: str) -> tuple[Row, ...]:
    pairs = (("0", "dense"), ("1", "norm"), ("3", "out"))
    return tuple(
        Row(f"{released}.{number}.{LEAF}", f"{name}.{{leaf}}", role)
        for number, name in pairs
    )


def _table(ours: tuple[str, ...], pair: bool) -> Row:
    resize: Resize = relative_bias
    where = is_pair if pair else is_alone
    return Row("relative_position_bias_table", ours, "lower", BIAS_TABLE, where, resize)


_ALONE = ("bias.image", "bias.text")
_STACKS = {
    name: Role(role.label, role.uses, role.when, _stack)
    for name, role in stack_roles().items()
}

KEY_MAP = KeyMap(
    title="VLMo",
    source="FILE",
    wrapper="state_dict",
    roles={
        # A network may have any part of VLMo: a role that no module plays drops its keys with a reason.
        "words": Role("text_embedding", {"text_embedding": ""}, numbers=_words),
        "patches": Role("image_embedding", {"image_embedding": ""}),
        "modality": Role("modality_embedding", {"modality_embedding": ""}),
        **_STACKS,
        "pooler": Role("pooler", {"pooler": ""}),
        "mlm": Role("vector_head of words", {"vector_head": ""}, _head_of_words),
        "text_proj": _head(text=True, fused=False),
        "image_proj": _head(text=False, fused=False),
        "text_fused_proj": _head(text=True, fused=True),
        "image_fused_proj": _head(text=False, fused=True),
        "contrast": _contrast(fused=False),
        "contrast_fused": _contrast(fused=True),
        "match": Role("vector_head of depth 1", {"vector_head": ""}, _has_one_layer),
        "vqa": _classifier(pair=False),
        "nlvr2": _classifier(pair=True),
    },
    rows=(
        Drop(
            "text_embeddings.position_ids",
            "a constant: 0, 1, 2, ...",
            "words",
            make=position_ids,
        ),
        Drop(
            "{name:(text_|text_imag_)?relative_position_index}",
            "a constant: rows of the table",
        ),
        Drop(
            "text_embeddings.position_embeddings.weight",
            "never read: positions are relative",
            "words",
            lambda values: not values["absolute"],
            make=_unused_positions,
        ),
        Row("text_embeddings.word_embeddings.weight", "word.weight", "words"),
        Row(
            "text_embeddings.position_embeddings.weight",
            "position.weight",
            "words",
            resize=first_rows,
        ),
        Row("text_embeddings.token_type_embeddings.weight", "kind.weight", "words"),
        Row(f"text_embeddings.LayerNorm.{LEAF}", "norm.{leaf}", "words"),
        Row(
            "token_type_embeddings.weight",
            "table.weight",
            "modality",
            resize=repeat_last_row,
        ),
        Row("transformer.cls_token", "cls", "patches"),
        Row(
            "transformer.pos_embed", "position", "patches", resize=grid_positions_cubic
        ),
        Row(f"transformer.patch_embed.proj.{LEAF}", "patch.proj.{leaf}", "patches"),
        # Before the rows of the blocks: a drop ends the search.
        Drop(FUSED, "this network has no fused experts", "upper", _has_no_fused),
        *block_rows("transformer.", EXPERTS),
        *norm_rows("transformer."),
        _table(_ALONE, pair=False),
        _table((*_ALONE, *(f"upper:{name}" for name in _ALONE)), pair=True),
        Row(f"pooler.dense.{LEAF}", "dense.{leaf}", "pooler"),
        Row(f"mlm_score.transform.dense.{LEAF}", "dense.{leaf}", "mlm"),
        Row(f"mlm_score.transform.LayerNorm.{LEAF}", "norm.{leaf}", "mlm"),
        Row("mlm_score.decoder.weight", "out.weight", "mlm"),
        Row("mlm_score.bias", "out.bias", "mlm"),
        Row("itc_text_proj.fc.weight", "linear.weight", "text_proj"),
        Row("itc_image_proj.fc.weight", "linear.weight", "image_proj"),
        Row("itc_vl_text_proj.fc.weight", "linear.weight", "text_fused_proj"),
        Row("itc_vl_image_proj.fc.weight", "linear.weight", "image_fused_proj"),
        Row("logit_scale", "log_scale", "contrast", leading(1)),
        Row("logit_vl_scale", "log_scale", "contrast_fused", leading(1)),
        Row(f"itm_score.fc.{LEAF}", "out.{leaf}", "match"),
        *_classifier_rows("vqa_classifier", "vqa"),
        *_classifier_rows("nlvr2_classifier", "nlvr2"),
    ),
    fresh=(
        Fresh(
            "blocks.{layer}.{part:norm2|mlp}.fused.{rest*}",
            "upper",
            "a checkpoint of the text stage has no fused experts",
            lambda values: not values["stored_fused"],
        ),
    ),
)
