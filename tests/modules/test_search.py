"""Searches against plain re-decoding of the whole prefix."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from modules.decoder import PACK_FROM, TextDecoder
from modules.search.beam import beam_search, greedy_search
from modules.search.rank import rank_answers
from modules.streams import Text, Tokens

START, END = 1, 2


@pytest.fixture
def decoder() -> TextDecoder:
    torch.manual_seed(3)
    return TextDecoder(
        width=16, depth=2, vocab_size=7, max_positions=12, heads=2
    ).eval()


@pytest.fixture
def memory() -> Tokens:
    torch.manual_seed(4)
    mask = torch.ones(3, 5, dtype=torch.bool)
    mask[1, 3:] = False
    return Tokens(torch.randn(3, 5, 16), mask)


@torch.no_grad()
def _log_probabilities(
    decoder: TextDecoder, memory: Tokens, sample: int, words: list[int]
) -> torch.Tensor:
    one = Tokens(memory.values[sample : sample + 1], memory.mask[sample : sample + 1])
    ids = torch.tensor([words])
    return F.log_softmax(
        decoder(Text(ids, torch.ones_like(ids, dtype=torch.bool)), one)[0, -1], dim=-1
    )


def test_cached_steps_equal_the_whole_pass(
    decoder: TextDecoder, memory: Tokens
) -> None:
    ids = torch.randint(3, 7, (3, 6))
    whole = decoder(Text(ids, torch.ones_like(ids, dtype=torch.bool)), memory)
    state = decoder.init_cache(memory)
    steps = [decoder.decode(ids[:, None, i : i + 1], state)[:, 0, 0] for i in range(6)]
    torch.testing.assert_close(torch.stack(steps, dim=1), whole)


def test_steps_over_packed_weights_equal_the_whole_pass(
    decoder: TextDecoder, memory: Tokens
) -> None:
    ids = torch.randint(3, 7, (3, 2, 6))
    text = Text(ids.flatten(0, 1), torch.ones(6, 6, dtype=torch.bool))
    state, short = (
        decoder.init_cache(memory, PACK_FROM),
        decoder.init_cache(memory, PACK_FROM - 1),
    )
    with torch.no_grad():
        whole = decoder(text, memory).unflatten(0, (3, 2))
        steps = [decoder.decode(ids[:, :, i : i + 1], state)[:, :, 0] for i in range(6)]
    torch.testing.assert_close(torch.stack(steps, dim=2), whole)
    # Of each layer all but the memory's keys and values, read once; the head's two.
    assert state.packs is not None and len(state.packs) == 2 * 8 + 2
    assert short.packs is None


def test_greedy_takes_the_likeliest_word(decoder: TextDecoder, memory: Tokens) -> None:
    found = greedy_search(
        decoder,
        memory,
        max_length=6,
        min_length=2,
        bos_token_id=START,
        eos_token_id=END,
    )
    for sample in range(3):
        words = [START]
        for step in range(6):
            scores = _log_probabilities(decoder, memory, sample, words)
            if step < 2:
                scores[END] = -1e20
            words.append(int(scores.argmax()))
            if words[-1] == END:
                break
        ids = found.ids[sample, 0].tolist()
        assert ids[: len(words)] == words and not any(ids[len(words) :])


def test_a_wide_enough_beam_finds_the_best_text(
    decoder: TextDecoder, memory: Tokens
) -> None:
    """With as many beams as there are texts nothing can be pruned: the best one of fixed length must come
    out."""
    words = [w for w in range(7) if w != END]
    found = beam_search(
        decoder,
        memory,
        num_beams=36,
        num_return_sequences=1,
        min_length=2,
        max_length=2,
        bos_token_id=START,
        eos_token_id=END,
    )
    for sample in range(3):
        scores = {}
        for text in itertools.product(words, repeat=2):
            first = _log_probabilities(decoder, memory, sample, [START])
            second = _log_probabilities(decoder, memory, sample, [START, text[0]])
            scores[text] = float(first[text[0]] + second[text[1]]) / (7 / 6) ** 0.6
        best = max(scores, key=scores.__getitem__)
        assert found.ids[sample, 0].tolist() == [START, *best]
        assert float(found.scores[sample, 0]) == pytest.approx(scores[best], abs=1e-4)


def test_a_sample_does_not_depend_on_its_batch(
    decoder: TextDecoder, memory: Tokens
) -> None:
    options = {
        "num_beams": 3,
        "num_return_sequences": 3,
        "max_length": 8,
        "bos_token_id": START,
        "eos_token_id": END,
    }
    together = beam_search(decoder, memory, **options)
    for i in range(3):
        alone = beam_search(
            decoder, Tokens(memory.values[i : i + 1], memory.mask[i : i + 1]), **options
        )
        length = alone.ids.shape[-1]
        assert together.ids[i, :, :length].tolist() == alone.ids[0].tolist()
        torch.testing.assert_close(together.scores[i], alone.scores[0])


def test_more_results_than_beams_is_refused(
    decoder: TextDecoder, memory: Tokens
) -> None:
    with pytest.raises(ValueError, match="num_return_sequences must be 1 to num_beams"):
        beam_search(decoder, memory, num_beams=2, num_return_sequences=3)


@pytest.mark.parametrize("first_token", ["once", "twice"])
def test_ranking_scores_every_candidate(
    decoder: TextDecoder, memory: Tokens, first_token: str
) -> None:
    ids = torch.tensor([[1, 3, 4, 2], [1, 5, 2, 0], [1, 6, 6, 2], [1, 3, 2, 0]])
    found = rank_answers(
        decoder, memory, Text(ids, ids > 0), top_k=4, first_token=first_token
    )
    for sample in range(3):
        scores = []
        for text in ids.tolist():
            words = [w for w in text if w]
            steps = [
                _log_probabilities(decoder, memory, sample, words[:i])[words[i]]
                for i in range(1, len(words))
            ]
            scores.append(sum(steps) + (steps[0] if first_token == "twice" else 0))
        expected = torch.stack(scores).softmax(dim=0).sort(descending=True)
        assert found["choice"][sample].tolist() == expected.indices.tolist()
        torch.testing.assert_close(found["answer"].scores[sample], expected.values)


def test_ranking_keeps_the_likeliest_first_words(
    decoder: TextDecoder, memory: Tokens
) -> None:
    ids = torch.tensor([[1, 3, 2], [1, 4, 2], [1, 5, 2], [1, 6, 2]])
    found = rank_answers(decoder, memory, Text(ids, ids > 0), top_k=2)
    for sample in range(3):
        likely = found["first"][sample].topk(2).indices.tolist()
        assert sorted(found["choice"][sample].tolist()) == sorted(likely)
