"""Scores with gradient in one pass, against a pass for each word."""

import pytest
import torch
from plain_decoding import (
    END,
    START,
    alone,
    text_score,
    three_memories,
    three_prefixes,
    tiny_decoder,
)

from modules.search.beam import beam_search
from modules.search.rescore import score_sequences
from modules.search.sample import sample_search
from modules.streams import Sequences

WORDS = {"bos_token_id": START, "eos_token_id": END}


@pytest.mark.parametrize("prefixed", [False, True])
def test_rescoring_what_was_sampled_finds_its_log_probabilities(prefixed: bool) -> None:
    decoder, memory = tiny_decoder(), three_memories()
    prefix = three_prefixes() if prefixed else None
    found = sample_search(decoder, memory, prefix, n=4, max_length=6, seed=2, **WORDS)
    again = score_sequences(decoder, memory, found, prefix, eos_token_id=END)
    assert again.ids is found.ids and again.scores.requires_grad
    torch.testing.assert_close(again.logprobs.detach(), found.logprobs)
    torch.testing.assert_close(again.scores.detach(), found.scores)


@pytest.mark.parametrize("prefixed", [False, True])
def test_the_gradient_is_that_of_plain_passes(prefixed: bool) -> None:
    decoder, memory = tiny_decoder(), three_memories()
    memory.values.requires_grad_()
    prefix = three_prefixes() if prefixed else None
    # the second one has words after its end, which do not count, the first one no end
    ids = torch.tensor([[1, 3, 4, 5], [1, 6, 2, 4]]).expand(3, -1, -1)
    weights = torch.tensor([[1.0, -2.0], [0.5, 1.0], [-1.0, 3.0]])
    said = score_sequences(
        decoder, memory, Sequences(ids, torch.zeros(3, 2)), prefix, eos_token_id=END
    )
    found = torch.autograd.grad(
        (said.scores * weights).sum(), [memory.values, *decoder.parameters()]
    )
    total = torch.zeros(())
    for i in range(3):
        before = [START] if prefix is None else alone(prefix, i).ids[0].tolist()
        for words, weight in zip(([3, 4, 5], [6, 2]), weights[i], strict=True):
            total = total + weight * sum(text_score(decoder, memory, i, words, before))
    expected = torch.autograd.grad(total, [memory.values, *decoder.parameters()])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_padding_after_a_text_without_an_end_is_not_scored() -> None:
    """When the best beam ends, the others are given out as they are: without an end, and padded."""
    decoder, memory = tiny_decoder(), three_memories()
    with torch.no_grad():
        decoder.head.bias[END] += 2.5
    found = beam_search(
        decoder, memory, num_beams=5, num_return_sequences=5, max_length=6, **WORDS
    )
    said = score_sequences(decoder, memory, found, eos_token_id=END)
    assert found.lengths is not None and torch.equal(
        found.lengths, (found.logprobs != 0).sum(dim=-1)
    )
    cut = 0
    for i, texts in enumerate(found.ids.tolist()):
        for j, ids in enumerate(texts):
            words = ids[
                1 : 1 + int(found.lengths[i, j])
            ]  # 0 is a word, too, where one was written
            cut += END not in words and len(words) < len(ids) - 1
            words = words[: words.index(END) + 1] if END in words else words
            torch.testing.assert_close(
                said.scores[i, j], sum(text_score(decoder, memory, i, words, [START]))
            )
    assert cut, "no text was padded without an end"


def test_the_mean_is_over_the_words_that_were_written() -> None:
    decoder, memory = tiny_decoder(), three_memories()
    found = sample_search(decoder, memory, n=4, max_length=6, seed=2, **WORDS)
    total, mean = (
        score_sequences(decoder, memory, found, score=s, eos_token_id=END).scores
        for s in ("sum", "mean")
    )
    lengths = [
        [(row.index(END) if END in row else 6) for row in rows]
        for rows in found.ids.tolist()
    ]
    torch.testing.assert_close(mean * torch.tensor(lengths), total)


def test_the_released_score_is_penalised_twice() -> None:
    """By the beam's penalty for its length, and by the number of its ids, [CLS] and [SEP] counted."""
    decoder, memory = tiny_decoder(), three_memories()
    found = beam_search(
        decoder,
        memory,
        num_beams=5,
        num_return_sequences=5,
        max_length=6,
        length_penalty=0.6,
        **WORDS,
    )
    said = score_sequences(decoder, memory, found, score="released", eos_token_id=END)
    whole = 0
    for i, texts in enumerate(found.ids.tolist()):
        for j, ids in enumerate(texts):
            words = ids[1 : 1 + int(found.lengths[i, j])]
            if (
                END not in words[:-1]
            ):  # what a beam wrote after its end does not count here
                torch.testing.assert_close(
                    said.scores[i, j], found.scores[i, j] / (len(words) + 1)
                )
                whole += 1
    assert whole > 3
    unpenalised = score_sequences(
        decoder, memory, found, score="released", length_penalty=0.0, eos_token_id=END
    ).scores
    total, mean = (
        score_sequences(decoder, memory, found, score=s, eos_token_id=END).scores
        for s in ("sum", "mean")
    )
    torch.testing.assert_close(unpenalised, total / (total / mean + 1))
