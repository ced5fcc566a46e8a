"""Diverse beams against the algorithm of the paper, written down without a cache."""

import pytest
import torch
from plain_decoding import END, START, VOCAB, next_word, three_memories, tiny_decoder

from modules.search.beam import beam_search

OPTIONS = {"min_length": 1, "max_length": 5, "bos_token_id": START, "eos_token_id": END}


def test_groups_that_do_not_care_are_the_same_search() -> None:
    decoder, memory = tiny_decoder(), three_memories()
    plain = beam_search(decoder, memory, num_beams=2, num_return_sequences=2, **OPTIONS)
    twice = beam_search(
        decoder,
        memory,
        num_beams=4,
        num_beam_groups=2,
        num_return_sequences=4,
        **OPTIONS,
    )
    for i in range(3):
        assert twice.ids[i, ::2].tolist() == plain.ids[i].tolist()
        assert twice.ids[i, 1::2].tolist() == plain.ids[i].tolist()


@pytest.mark.parametrize("diversity", [0.5, 3.0])
def test_each_group_avoids_what_earlier_ones_wrote(diversity: float) -> None:
    decoder, memory = tiny_decoder(), three_memories()
    found = beam_search(
        decoder,
        memory,
        num_beams=6,
        num_beam_groups=3,
        diversity_penalty=diversity,
        num_return_sequences=6,
        **OPTIONS,
    )
    for i in range(3):
        expected = _diverse(
            lambda words, i=i: next_word(decoder, memory, i, words), 3, 2, diversity
        )[:6]
        for (score, words), ids, value in zip(
            expected, found.ids[i].tolist(), found.scores[i], strict=True
        ):
            assert ids[: len(words)] == words and not any(ids[len(words) :])
            assert float(value) == pytest.approx(score, abs=1e-5)


def _diverse(
    say, groups: int, size: int, diversity: float
) -> list[tuple[float, list[int]]]:  # type: ignore[no-untyped-def]
    beams = [[(0.0, [START])] for _ in range(groups)]
    running, done = [True] * groups, []
    for step in range(OPTIONS["max_length"]):
        used = torch.zeros(VOCAB)
        scale = ((6 + step) / 6) ** 0.6
        for g in range(groups):
            if not running[g]:
                continue
            options = []
            for total, words in beams[g]:
                said = say(words).detach().clone()
                if step < 1:
                    said[END] = -1e20
                for word in range(VOCAB):
                    plain = total + float(said[word])
                    options.append(
                        (plain - diversity * float(used[word]), plain, [*words, word])
                    )
            best = sorted(options, key=lambda o: -o[0])[:size]
            beams[g] = [(plain, words) for _, plain, words in best]
            for _, words in beams[g]:
                used[words[-1]] += 1
            stops = beams[g][0][1][-1] == END or step + 1 == OPTIONS["max_length"]
            done += [(p / scale, w) for p, w in beams[g] if stops or w[-1] == END]
            running[g] = not stops
    return sorted(done, key=lambda d: -d[0])


def test_groups_must_divide_the_beams() -> None:
    with pytest.raises(ValueError, match="num_beam_groups must divide num_beams"):
        beam_search(tiny_decoder(), three_memories(), num_beams=5, num_beam_groups=2)
