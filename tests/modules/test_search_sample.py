"""Sampling: the distribution drawn from, the seed, and what the log-probabilities are."""

import pytest
import torch
from plain_decoding import (
    END,
    START,
    VOCAB,
    next_word,
    text_score,
    three_memories,
    tiny_decoder,
)

from modules.search.beam import greedy_search
from modules.search.sample import likely, sample_search

WORDS = {"bos_token_id": START, "eos_token_id": END}


def test_words_come_as_often_as_they_are_likely() -> None:
    decoder, memory = tiny_decoder(), three_memories()
    found = sample_search(
        decoder, memory, n=4000, min_length=0, max_length=1, seed=0, **WORDS
    )
    for i in range(3):
        often = torch.bincount(found.ids[i, :, 1], minlength=VOCAB) / 4000
        torch.testing.assert_close(
            often, next_word(decoder, memory, i, [START]).exp(), atol=0.03, rtol=0
        )


def test_the_end_waits_for_the_shortest_length() -> None:
    found = sample_search(
        tiny_decoder(),
        three_memories(),
        n=200,
        min_length=3,
        max_length=6,
        seed=0,
        **WORDS,
    )
    assert not (found.ids[..., :4] == END).any() and (found.ids[..., 4] == END).any()
    after = (found.ids == END).cumsum(dim=-1) - (found.ids == END).long()
    assert not found.ids[after > 0].any() and not found.logprobs[after > 0].any()


def test_the_likeliest_word_alone_is_greedy() -> None:
    decoder, memory = tiny_decoder(), three_memories()
    greedy = greedy_search(decoder, memory, max_length=6, **WORDS)
    for options in ({"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}):
        found = sample_search(decoder, memory, max_length=6, **options, **WORDS)
        assert found.ids.tolist() == greedy.ids.tolist()
        torch.testing.assert_close(found.logprobs, greedy.logprobs)


def test_log_probabilities_are_the_decoders_own() -> None:
    decoder, memory = tiny_decoder(), three_memories()
    found = sample_search(
        decoder, memory, n=3, temperature=2.0, top_k=5, max_length=5, seed=1, **WORDS
    )
    for i in range(3):
        for ids, said, score in zip(
            found.ids[i].tolist(), found.logprobs[i], found.scores[i], strict=True
        ):
            words = ids[1 : ids.index(END) + 1] if END in ids else ids[1:]
            expected = torch.stack(
                text_score(decoder, memory, i, words, [START])
            ).detach()
            torch.testing.assert_close(said[1 : len(words) + 1], expected)
            torch.testing.assert_close(score, expected.sum())
        assert found.scores[i].tolist() == sorted(
            found.scores[i].tolist(), reverse=True
        )


def test_a_seed_fixes_the_texts_and_leaves_the_global_generator_alone() -> None:
    decoder, memory = tiny_decoder(), three_memories()
    before = torch.get_rng_state()
    first = sample_search(decoder, memory, n=4, max_length=6, seed=5, **WORDS)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(
        sample_search(decoder, memory, n=4, max_length=6, seed=5, **WORDS).ids,
        first.ids,
    )
    other = sample_search(decoder, memory, n=4, max_length=6, seed=6, **WORDS)
    assert other.ids.tolist() != first.ids.tolist()
    sample_search(decoder, memory, n=4, max_length=6, **WORDS)
    assert not torch.equal(torch.get_rng_state(), before)


def test_dropout_rests_while_a_search_writes() -> None:
    decoder, memory = tiny_decoder(dropout=0.5).train(), three_memories()
    first, second = (
        greedy_search(decoder, memory, max_length=6, **WORDS) for _ in range(2)
    )
    assert torch.equal(first.logprobs, second.logprobs)
    assert decoder.training and decoder.layers[0].feed.training


def test_the_distribution_is_cut_to_its_likely_part() -> None:
    chances = torch.tensor([0.1, 0.4, 0.2, 0.3])
    cut = likely(chances.log(), 1.0, 3, 1.0)
    torch.testing.assert_close(cut, torch.tensor([0, 0.4, 0.2, 0.3]) / 0.9)
    # 0.4 + 0.3 hold 0.65, and 0.4 alone does not
    torch.testing.assert_close(
        likely(chances.log(), 1.0, 0, 0.65), torch.tensor([0, 0.4, 0, 0.3])
    )
    torch.testing.assert_close(
        likely(chances.log(), 2.0, 0, 1.0), chances.sqrt() / chances.sqrt().sum()
    )


@pytest.mark.parametrize(
    "wrong", [{"n": 0}, {"top_k": -1}, {"top_p": 0.0}, {"temperature": 0.0}]
)
def test_impossible_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="n must be at least 1"):
        sample_search(tiny_decoder(), three_memories(), **wrong)
