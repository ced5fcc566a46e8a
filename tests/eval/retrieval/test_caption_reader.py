"""Texts of a query or a prompt are read as the source of a spec reads its captions."""

from __future__ import annotations

from pathlib import Path

import pytest

from mplug2.data.text import Tokenizer
from mplug2.eval.retrieval.texts import CaptionReader
from registry import parse_spec

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a red square . ring"
SPEC = """
inputs: {{image: image B 3 H W, caption: text B L}}
modules:
  vision: {{use: image_vit, width: 32, depth: 1, heads: 2, patch: 8, size: 16}}
  words: {{use: text_embedding, width: 32, vocab_size: 10, max_positions: 16}}
  to_v: {{use: feature_head, width: 8}}
  to_t: {{use: feature_head, width: 8, pool: mean}}
flow: {{visual: vision(image), asked: words(caption), v: to_v(visual), t: to_t(asked)}}
goals: {{embed_vision: {{v: v}}, embed_text: {{t: t}}}}
data: {{task: retrieval, tokenizer: {tokenizer}{settings}}}
eval: {{metrics: [recall]}}
"""


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("", "[CLS] a red square"),
        (", caption_words: 2", "[CLS] a red"),
        (", caption_text: as written", "[CLS] a red square ."),
        (", caption_text: as written, caption_tokens: 3", "[CLS] a red"),
        (", template: 'ring {caption} [SEP]'", "ring a red square [SEP]"),
    ],
)
def test_a_text_is_read_as_a_caption(
    settings: str, expected: str, tmp_path: Path
) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS.split()))
    spec = parse_spec(
        SPEC.format(tokenizer=tmp_path / "vocab.txt", settings=settings), "read.yaml"
    )
    tokenizer = Tokenizer.load(tmp_path / "vocab.txt")
    text = CaptionReader(spec, "embed_text", tokenizer)(["A red square."])
    assert tokenizer.tokens(text.ids[0].tolist()) == expected.split()
