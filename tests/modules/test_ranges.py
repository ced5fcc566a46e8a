"""Values that no training survives are refused where they are written, with their place in the spec."""

from __future__ import annotations

import pytest
from plain_decoding import three_memories, three_prefixes, tiny_decoder

from modules.search.beam import beam_search, greedy_search
from modules.search.rank import rank_answers
from modules.search.sample import sample_search
from mplug2.build.dry_run import dry_run
from registry import SpecError, parse_spec

SPEC = """
inputs: {image: image B 3 H W, caption: text B L, answers: text C K, target: labels B, media_id: index B}
modules:
  vision:   {use: image_vit, width: 32, depth: 2, heads: 2, patch: 8, size: 16, drop_path: 0.1}
  words:    {use: text_embedding, width: 32, vocab_size: 200, max_positions: 60}
  decoder:  {use: text_decoder, width: 32, depth: 1, heads: 2, vocab_size: 200, max_positions: 60}
  to_v:     {use: feature_head, width_in: 32, width: 16}
  to_t:     {use: feature_head, width_in: 32, width: 16}
  bank:     {use: feature_queue, width: 16, size: 8}
  contrast: {use: contrastive, temperature: 0.07}
  judge:    {use: class_head, width: 32, classes: 3}
flow:
  seen:    vision(image)
  spoken:  words(caption)
  v:       to_v(seen)
  t:       to_t(spoken)
  stored:  bank(ema(v), ema(t), media_id)
  close:   contrast(v, t, media_id, all_vision=stored.vision, all_text=stored.text, all_group=stored.group,
                    alpha=0.4)
  verdict: judge(seen)
  kind:    cross_entropy(verdict, target=target, smoothing=0.1)
  logits:  decoder(caption, memory=seen)
  told:    lm_loss(logits, target=caption, teacher=ema(logits), alpha=0.3)
  loss:    weighted_sum(close.loss, kind, told, weights=[1.0, 1.0, 1.0])
  beams:   beam_search(@decoder, memory=seen, max_length=10, min_length=2)
  greedy:  greedy_search(@decoder, memory=seen, max_length=11, min_length=2)
  drawn:   sample_search(@decoder, memory=seen, max_length=12, min_length=2)
  ranked:  rank_answers(@decoder, memory=seen, candidates=answers, top_k=9)
goals:
  train:   {loss: loss}
  predict: {a: beams, b: greedy, c: drawn, d: ranked.answer}
momentum: {decay: 0.9}
"""
TOO_LONG_A_MINIMUM = (
    "min_length must be at most max_length (got min_length 6, max_length 5)"
)
NEGATIVE_MINIMUM = "min_length must be at least 0 (got min_length -1)"
WRONG = [
    ("alpha=0.4", "alpha=40.0", "alpha must be 0 to 1, but is 40.0"),
    ("alpha=0.4", "alpha=-0.1", "alpha must be 0 to 1, but is -0.1"),
    ("alpha=0.3", "alpha=1.3", "alpha must be 0 to 1, but is 1.3"),
    (
        "smoothing=0.1",
        "smoothing=-0.5",
        "smoothing must be at least 0 and below 1, but is -0.5",
    ),
    (
        "smoothing=0.1",
        "smoothing=1.0",
        "smoothing must be at least 0 and below 1, but is 1.0",
    ),
    (
        "drop_path: 0.1",
        "drop_path: 2.0",
        "drop_path must be at least 0 and below 1, but is 2.0",
    ),
    (
        "size: 16",
        "size: 16, attention_dropout: 1.0",
        "attention_dropout must be at least 0 and below 1",
    ),
    ("temperature: 0.07", "temperature: 0.7", "temperature must be 0.001 to 0.5"),
    ("max_length=10, min_length=2", "max_length=0", "max_length must be at least 1"),
    ("max_length=10, min_length=2", "max_length=5, min_length=6", TOO_LONG_A_MINIMUM),
    ("max_length=11, min_length=2", "max_length=0", "max_length must be at least 1"),
    ("max_length=11, min_length=2", "max_length=5, min_length=6", TOO_LONG_A_MINIMUM),
    (
        "max_length=12, min_length=2",
        "max_length=-1, min_length=0",
        "max_length must be at least 1",
    ),
    ("max_length=12, min_length=2", "max_length=5, min_length=-1", NEGATIVE_MINIMUM),
    ("top_k=9", "top_k=0", "top_k must be at least 1 (got top_k 0)"),
]


def test_the_spec_itself_has_no_mistake() -> None:
    dry_run(parse_spec(SPEC, "ranges.yaml"))


@pytest.mark.parametrize(("right", "wrong", "message"), WRONG)
def test_a_value_out_of_range_is_found_without_data(
    right: str, wrong: str, message: str
) -> None:
    assert SPEC.count(right) == 1
    line = 1 + SPEC[: SPEC.index(right)].count("\n")
    with pytest.raises(SpecError) as found:
        dry_run(parse_spec(SPEC.replace(right, wrong), "ranges.yaml"))
    (problem,) = found.value.problems
    assert message in problem.message
    # an equation is placed where it begins
    assert line - 1 <= problem.place.line <= line


def test_searches_refuse_such_values_in_use_too() -> None:
    decoder, memory, candidates = tiny_decoder(), three_memories(), three_prefixes()
    for search in (beam_search, greedy_search, sample_search):
        with pytest.raises(ValueError, match="max_length must be at least 1"):
            search(decoder, memory, max_length=0, bos_token_id=1, eos_token_id=2)
    with pytest.raises(ValueError, match="top_k must be 1"):
        rank_answers(decoder, memory, candidates, top_k=0)
