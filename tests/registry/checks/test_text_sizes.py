"""Sizes of vocabularies and positions that follow from the texts of the data."""

from __future__ import annotations

from pathlib import Path

import pytest

import mplug2
import registry
from registry import Report, SpecError, check, parse_spec

assert mplug2  # It registers the modules, tasks and tokenizers of these specs.

ANSWERING = """\
inputs: {{image: image B 3 32 32, question: text B L, answer: text A M, question_index: index A -> B}}
modules:
  vision:  {{use: image_vit, width: 32, depth: 1, heads: 2, patch: 16, size: 32}}
  words:   {{use: text_embedding, width: 32}}
  text:    {{use: text_encoder, depth: 1, heads: 2}}
  fusion:  {{use: fusion, width: 32, depth: 1, heads: 2}}
  decoder: {{use: text_decoder, width: 32, depth: 1, heads: 2}}
flow:
  embedded: words(question)
  read:   text(embedded)
  looked: vision(image)
  both:   fusion(text=read, vision=looked)
  memory: concat(both.text, both.vision)
  asked:  take(memory, question_index)
  logits: decoder(answer, memory=asked)
  loss:   lm_loss(logits, answer)
  answers: beam_search(@decoder, memory, num_beams=2, max_length={max_length})
goals:
  train:  {{loss: loss}}
  answer: {{sequences: answers}}
data:
  kind: question_answer
  tokenizer: {tokenizer}
  question_tokens: {question_tokens}
  answer_tokens: 6
  train: {{path: train.jsonl, answer_tokens: 9}}
"""


def answering(
    tokenizer: str = "bytes", question_tokens: int = 20, max_length: int = 7
) -> Report:
    text = ANSWERING.format(
        tokenizer=tokenizer, question_tokens=question_tokens, max_length=max_length
    )
    return check(parse_spec(text))


def write_vocabulary(path: Path, words: int) -> None:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    path.write_text("\n".join(special + [f"word{n}" for n in range(words)]))


def test_the_tokenizer_settles_the_vocabulary() -> None:
    report = answering()
    assert report.problems == [] and report.notes == []
    spec = report.complete_spec()
    assert spec.modules["words"].arguments["vocab_size"] == 360
    assert spec.modules["decoder"].arguments["vocab_size"] == 360
    assert report.types["logits"].axes[-1] == 360
    assert spec.inferred["words.vocab_size"] == "set at spec.yaml:23:14"


def test_a_vocabulary_file_is_counted(tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "vocab.txt", words=120)
    spec = answering(str(tmp_path / "vocab.txt")).complete_spec()
    assert spec.modules["words"].arguments["vocab_size"] == 125


def test_an_absent_tokenizer_leaves_the_vocabulary_open(tmp_path: Path) -> None:
    report = answering(str(tmp_path / "vocab.txt"))
    assert report.problems == []
    noted = [str(note).splitlines()[0] for note in report.notes]
    assert len(noted) == 2
    assert "'vocab_size' of module 'words' (text_embedding) is open" in noted[0]
    assert f"the tokenizer {tmp_path / 'vocab.txt'} does not exist here" in noted[0]
    with pytest.raises(SpecError, match="add `vocab_size"):
        report.complete_spec()


def test_a_damaged_tokenizer_is_a_problem_where_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("no\nspecial\ntokens\n")
    (problem,) = answering(str(tmp_path / "vocab.txt")).problems
    assert problem.place.line == 23
    assert "must hold [PAD]" in str(problem)


def test_the_longest_texts_settle_the_positions() -> None:
    spec = answering().complete_spec()
    assert spec.modules["words"].arguments["max_positions"] == 20
    # 9 tokens of answers in training are more than 6 in general, and than the 7 that are written.
    assert spec.modules["decoder"].arguments["max_positions"] == 9
    assert spec.inferred["decoder.max_positions"].startswith("set at spec.yaml:26")


def test_a_search_counts_as_a_text() -> None:
    spec = answering(max_length=30).complete_spec()
    assert spec.modules["decoder"].arguments["max_positions"] == 30


def test_a_text_without_a_limit_leaves_the_positions_open() -> None:
    text = ANSWERING.format(tokenizer="bytes", question_tokens=20, max_length=7)
    report = check(
        parse_spec(
            text.replace(", answer_tokens: 9", "").replace("  answer_tokens: 6\n", "")
        )
    )
    (note,) = report.notes
    assert "'max_positions' of module 'decoder'" in str(note)
    assert "nothing limits the length of 'answer'" in str(note)


def test_what_follows_must_meet_the_conditions() -> None:
    text = ANSWERING.format(tokenizer="bytes", question_tokens=20, max_length=7)
    text = text.replace("max_length=7", "max_length=7, eos_token_id=400")
    (problem,) = check(parse_spec(text)).problems
    assert "eos_token_id must be less than decoder.vocab_size" in str(problem)


def test_two_tokenizers_settle_the_embeddings_that_they_reach(tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "vocab.txt", words=120)
    text = f"""\
inputs: {{text: text B L}}
modules:
  small: {{use: text_decoder, width: 32, depth: 1, heads: 2, cross_attention: false}}
  large: {{use: text_decoder, width: 32, depth: 1, heads: 2, cross_attention: false}}
flow:
  words: small(text)
  bytes: large(text)
  loss_of_words: lm_loss(words, text)
  loss_of_bytes: lm_loss(bytes, text)
goals:
  words: {{loss: loss_of_words}}
  bytes: {{loss: loss_of_bytes}}
data:
  sources:
    words: {{task: plain_text, text_tokens: 8, tokenizer: {tmp_path / "vocab.txt"}, train: {{path: a.txt}}}}
    bytes: {{task: plain_text, text_tokens: 16, tokenizer: bytes, train: {{path: a.txt}}}}
  batches:
    words: {{source: words, goal: words, batch_size: 2}}
    bytes: {{source: bytes, goal: bytes, batch_size: 2}}
"""
    modules = check(parse_spec(text)).complete_spec().modules
    assert modules["small"].arguments["vocab_size"] == 125
    assert modules["large"].arguments["vocab_size"] == 360
    # `text` is one input: each module must have positions for the texts of both sources.
    assert modules["small"].arguments["max_positions"] == 16


def test_text_arguments_have_no_silent_default() -> None:
    for name in ("text_embedding", "text_decoder", "clip_text", "word_masking"):
        arguments = registry.MODULES.declaration(name).arguments
        assert arguments["vocab_size"].required
