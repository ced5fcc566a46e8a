"""TiMix's checkpoints (chaoyajiang/TiMiX): pre-training of mPLUG base with a text-aware patch predictor."""

from __future__ import annotations

from mplug2.weights.families.mplug import ROLES, VISION_DROPS, encoder_rows, head_rows
from mplug2.weights.families.mplug2 import (
    POSITION_IDS,
    decoder_rows,
    fusion,
    fusion_rows,
)
from mplug2.weights.families.pieces import LEAF
from mplug2.weights.keymap import Drop, Facts, KeyMap, Role, Row, Values

PREDICTOR = "visual_encoder.visual.transformer.score_predictor."
FUSION = "fusion_encoder.bert."
WORDS = "fusion_encoder.cls.predictions."


def _predictor_rows() -> tuple[Row | Drop, ...]:
    pairs = (
        ("in_conv.0", "norm"),
        ("in_conv.1", "dense"),
        ("out_conv.0", "join"),
        ("out_conv.2", "reduce"),
        ("softmax_output.0", "out"),
    )
    return (
        Drop(
            f"{PREDICTOR}sigmoid_output.{{rest*}}",
            "a second output of the patch predictor, never read",
        ),
        *(
            Row(f"{PREDICTOR}{theirs}.{LEAF}", f"{ours}.{{leaf}}", "relevance")
            for theirs, ours in pairs
        ),
    )


def _word_rows() -> tuple[Row, ...]:
    """Return the rows of the masked words' head; its matrix is that of words which no layer reads."""
    return (
        Row(FUSION + "embeddings.word_embeddings.weight", "out.weight", "mlm_head"),
        Row(f"{WORDS}bias", "out.bias", "mlm_head"),
        Row(f"{WORDS}transform.dense.{LEAF}", "dense.{leaf}", "mlm_head"),
        Row(f"{WORDS}transform.LayerNorm.{LEAF}", "norm.{leaf}", "mlm_head"),
        # Last, since these win if two names of one tensor differ: the released loaders read them later.
        Row(f"{WORDS}decoder.weight", "out.weight", "mlm_head"),
        Row(f"{WORDS}decoder.bias", "out.bias", "mlm_head"),
    )


def _fusion(facts: Facts, module: str) -> Values:
    return fusion(facts, module, FUSION)


KEY_MAP = KeyMap(
    title="TiMix",
    source="FILE",
    roles={
        **ROLES,
        "fusion": Role("fusion", {"fusion": ""}, numbers=_fusion),
        "relevance": Role("patch_relevance", {"patch_relevance": ""}),
        "mlm_head": Role("vector_head", {"vector_head": ""}),
    },
    foreign={"universal": "universal layers"},
    # The spelling of mPLUG's fine-tuned checkpoints, and a stack inside the text encoder, are read, too.
    renames=(
        (
            r"{part:fusion_encoder|fusion_encoder_m}.{rest:(?:encoder|embeddings)\..*}",
            "{part}.bert.{rest}",
        ),
        ("{part:text_encoder|text_encoder_m}.bert.{rest*}", "{part}.{rest}"),
    ),
    ema=(r"{part:\w+}_m.{rest*}", "{part}.{rest}"),
    rows=(
        *VISION_DROPS,
        *POSITION_IDS,
        *_predictor_rows(),
        *encoder_rows(),
        *_word_rows(),
        *fusion_rows(FUSION),
        *decoder_rows(),
        *head_rows(),
    ),
)
