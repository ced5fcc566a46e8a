"""Texts that go on from a prefix: unequal ones in a batch, against each alone and plain re-decoding."""

from functools import partial

import pytest
import torch
from plain_decoding import (
    END,
    START,
    alone,
    next_word,
    only,
    text_score,
    three_memories,
    three_prefixes,
    tiny_decoder,
)

from modules.search.beam import beam_search, greedy_search
from modules.search.rank import rank_answers
from modules.search.sample import sample_search
from modules.streams import Text

CANDIDATES = torch.tensor([[1, 3, 4, 2], [1, 5, 2, 0], [1, 6, 6, 2]])
SEARCHES = {
    "beams": partial(beam_search, num_beams=3, num_return_sequences=3, max_length=6),
    "diverse": partial(
        beam_search,
        num_beams=4,
        num_beam_groups=2,
        diversity_penalty=0.7,
        num_return_sequences=4,
        max_length=6,
    ),
    "greedy": partial(greedy_search, max_length=6),
    "likeliest": partial(sample_search, n=2, top_k=1, max_length=6),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_unequal_prefixes_share_a_batch(name: str) -> None:
    decoder, memory, prefix = tiny_decoder(), three_memories(), three_prefixes()
    search = partial(SEARCHES[name], bos_token_id=START, eos_token_id=END)
    together = search(decoder, memory, prefix)
    for i in range(3):
        single = search(decoder, only(memory, i), alone(prefix, i))
        length = single.ids.shape[-1]
        assert together.ids[i, :, :length].tolist() == single.ids[0].tolist()
        assert not together.ids[i, :, length:].any()
        torch.testing.assert_close(together.scores[i], single.scores[0])
        torch.testing.assert_close(together.logprobs[i, :, :length], single.logprobs[0])


def test_greedy_goes_on_from_the_prefix_and_leaves_it_out() -> None:
    decoder, memory, prefix = tiny_decoder(), three_memories(), three_prefixes()
    found = greedy_search(
        decoder,
        memory,
        prefix,
        min_length=2,
        max_length=5,
        bos_token_id=START,
        eos_token_id=END,
    )
    for i in range(3):
        before = alone(prefix, i).ids[0].tolist()
        words: list[int] = []
        while len(words) < 5 and END not in words:
            scores = next_word(decoder, memory, i, before + words).detach()
            if len(words) < 2:
                scores[END] = -1e20
            words.append(int(scores.argmax()))
        assert found.ids[i, 0].tolist()[: len(words) + 1] == [START, *words]


def test_every_word_has_its_log_probability() -> None:
    decoder, memory, prefix = tiny_decoder(), three_memories(), three_prefixes()
    found = beam_search(
        decoder,
        memory,
        prefix,
        num_beams=3,
        num_return_sequences=3,
        max_length=5,
        bos_token_id=START,
        eos_token_id=END,
    )
    for i in range(3):
        for beam in range(3):
            length = int(
                (found.logprobs[i, beam] != 0).sum()
            )  # 0 is a word, too, where one was written
            words = found.ids[i, beam].tolist()[1 : length + 1]
            before = alone(prefix, i).ids[0].tolist()
            said = torch.stack(text_score(decoder, memory, i, words, before)).detach()
            torch.testing.assert_close(
                found.logprobs[i, beam, 1 : len(words) + 1], said
            )
            score = float(said.sum()) / ((5 + len(words)) / 6) ** 0.6
            assert float(found.scores[i, beam]) == pytest.approx(score, abs=1e-5)


def test_candidates_are_ranked_after_the_prefix() -> None:
    decoder, memory, prefix = tiny_decoder(), three_memories(), three_prefixes()
    found = rank_answers(decoder, memory, Text(CANDIDATES, CANDIDATES > 0), prefix)
    for i in range(3):
        before = alone(prefix, i).ids[0].tolist()
        texts = [[w for w in text if w][1:] for text in CANDIDATES.tolist()]
        losses = torch.stack(
            [-sum(text_score(decoder, memory, i, text, before)) for text in texts]
        )
        torch.testing.assert_close(found["losses"][i], losses.sort().values.detach())
        assert found["choice"][i].tolist() == losses.argsort().tolist()


def test_an_empty_prefix_is_refused() -> None:
    empty = Text(
        torch.zeros(3, 2, dtype=torch.long), torch.zeros(3, 2, dtype=torch.bool)
    )
    with pytest.raises(ValueError, match="at least one token"):
        beam_search(tiny_decoder(), three_memories(), empty)
