"""Scores with gradient in one pass, against a pass for each word."""

import pytest
import torch
from plain_decoding import END, START, alone, text_score, three_memories, three_prefixes, tiny_decoder

from modules.search.rescore import rescore
from modules.search.sample import sample
from modules.streams import Sequences

WORDS = {"start": START, "end": END}


@pytest.mark.parametrize("prefixed", [False, True])
def test_rescoring_what_was_sampled_finds_its_log_probabilities(prefixed: bool) -> None:
    decoder, memory = tiny_decoder(), three_memories()
    prefix = three_prefixes() if prefixed else None
    found = sample(decoder, memory, prefix, n=4, max_length=6, seed=2, **WORDS)
    again = rescore(decoder, memory, found, prefix, end=END)
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
    said = rescore(decoder, memory, Sequences(ids, torch.zeros(3, 2)), prefix, end=END)
    found = torch.autograd.grad((said.scores * weights).sum(), [memory.values, *decoder.parameters()])
    total = torch.zeros(())
    for i in range(3):
        before = [START] if prefix is None else alone(prefix, i).ids[0].tolist()
        for words, weight in zip(([3, 4, 5], [6, 2]), weights[i], strict=True):
            total = total + weight * sum(text_score(decoder, memory, i, words, before))
    expected = torch.autograd.grad(total, [memory.values, *decoder.parameters()])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_the_mean_is_over_the_words_that_were_written() -> None:
    decoder, memory = tiny_decoder(), three_memories()
    found = sample(decoder, memory, n=4, max_length=6, seed=2, **WORDS)
    total, mean = (rescore(decoder, memory, found, score=s, end=END).scores for s in ("sum", "mean"))
    lengths = [[(row.index(END) if END in row else 6) for row in rows] for rows in found.ids.tolist()]
    torch.testing.assert_close(mean * torch.tensor(lengths), total)
