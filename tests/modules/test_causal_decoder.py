"""A decoder without memory is a causal language model: its cache and its searches."""

from __future__ import annotations

import itertools

import pytest
import torch
from plain_decoding import END, START, VOCAB, alone, three_memories, three_prefixes
from torch import Tensor
from torch.nn import functional as F

import mplug2
from modules.decoder import PACK_FROM, TextDecoder
from modules.search.beam import beam_search, greedy_search
from modules.search.sample import sample_search
from modules.streams import Text
from mplug2.build.dry_run import dry_run
from mplug2.build.smoke import smoke
from registry import SpecError, check, parse_spec

SPEC = """
inputs: {prompt: text B P, text: text B L}
modules:
  decoder:
    use: text_decoder
    width: 16
    heads: 2
    depth: 2
    vocab_size: 50
    max_positions: 24
    cross_attention: false
flow:
  logits: decoder(text)
  loss: lm_loss(logits, target=text)
  written: beam_search(@decoder, prefix=prompt, num_beams=2, max_length=4, bos_token_id=2, eos_token_id=3)
goals: {train: {loss: loss}, predict: {answer: written}}
"""


@pytest.fixture
def decoder() -> TextDecoder:
    torch.manual_seed(3)
    arguments = {
        "width": 16,
        "depth": 2,
        "vocab_size": VOCAB,
        "max_positions": 14,
        "heads": 2,
        "dropout": 0.0,
    }
    return TextDecoder(**arguments, cross_attention=False).eval()


def text_of(rows: list[list[int]]) -> Text:
    ids = torch.tensor(rows)
    return Text(ids, torch.ones_like(ids, dtype=torch.bool))


@torch.no_grad()
def log_probabilities(decoder: TextDecoder, tokens: list[int]) -> Tensor:
    return F.log_softmax(decoder(text_of([tokens]))[0, -1], dim=-1)


def test_no_cross_attention_is_built(decoder: TextDecoder) -> None:
    assert not any(".cross." in name for name in decoder.state_dict())
    with_memory = TextDecoder(
        width=16, depth=2, vocab_size=VOCAB, max_positions=14, heads=2
    )
    keys = [name for name in with_memory.state_dict() if ".cross." not in name]
    assert keys == list(decoder.state_dict())


@pytest.mark.parametrize("words", [1, PACK_FROM])
def test_cached_steps_equal_one_pass(decoder: TextDecoder, words: int) -> None:
    ids = torch.randint(3, VOCAB, (3, 6))
    state = decoder.init_cache(None, words)
    with torch.no_grad():
        complete = decoder(text_of(ids.tolist()))
        first = decoder.decode(ids[:, None, :2], state, last_only=False)[:, 0]
        steps = [
            decoder.decode(ids[:, None, i : i + 1], state)[:, 0] for i in range(2, 6)
        ]
    torch.testing.assert_close(torch.cat([first, *steps], dim=1), complete)


def test_a_token_does_not_see_later_ones(decoder: TextDecoder) -> None:
    with torch.no_grad():
        short, long = decoder(text_of([[1, 4, 5]])), decoder(text_of([[1, 4, 5, 6, 3]]))
    torch.testing.assert_close(long[:, :3], short)


def test_greedy_search_continues_prefixes_of_unequal_length(
    decoder: TextDecoder,
) -> None:
    prefixes = three_prefixes()
    written = greedy_search(
        decoder,
        prefix=prefixes,
        max_length=5,
        min_length=2,
        bos_token_id=START,
        eos_token_id=END,
    )
    for row in range(3):
        tokens = alone(prefixes, row).ids[0].tolist()
        before = len(tokens)
        for step in range(5):
            scores = log_probabilities(decoder, tokens)
            if step < 2:
                scores[END] = -1e20
            tokens.append(int(scores.argmax()))
            if tokens[-1] == END:
                break
        expected = tokens[before:]
        ids = written.ids[row, 0, 1:].tolist()
        assert ids[: len(expected)] == expected and not any(ids[len(expected) :])


def test_a_wide_enough_beam_finds_the_best_text(decoder: TextDecoder) -> None:
    prefixes = three_prefixes()
    options = {
        "min_length": 2,
        "max_length": 2,
        "bos_token_id": START,
        "eos_token_id": END,
    }
    written = beam_search(
        decoder, prefix=prefixes, num_beams=36, num_return_sequences=1, **options
    )
    tokens = [token for token in range(VOCAB) if token != END]
    for row in range(3):
        prefix = alone(prefixes, row).ids[0].tolist()
        scores = {}
        for pair in itertools.product(tokens, repeat=2):
            first = log_probabilities(decoder, prefix)[pair[0]]
            second = log_probabilities(decoder, [*prefix, pair[0]])[pair[1]]
            scores[pair] = float(first + second) / (7 / 6) ** 0.6
        best = max(scores, key=scores.__getitem__)
        assert written.ids[row, 0, 1:].tolist() == [*best]
        assert float(written.scores[row, 0]) == pytest.approx(scores[best], abs=1e-4)


def test_samples_have_the_log_probabilities_of_the_decoder(
    decoder: TextDecoder,
) -> None:
    prefixes = three_prefixes()
    drawn = sample_search(
        decoder,
        prefix=prefixes,
        n=2,
        max_length=3,
        min_length=3,
        seed=0,
        bos_token_id=START,
        eos_token_id=END,
    )
    assert drawn.logprobs is not None
    prefix = alone(prefixes, 2).ids[0].tolist()
    tokens = drawn.ids[2, 0, 1:].tolist()
    for step, token in enumerate(tokens):
        expected = log_probabilities(decoder, prefix + tokens[:step])[token]
        assert float(drawn.logprobs[2, 0, 1 + step]) == pytest.approx(
            float(expected), abs=1e-5
        )


def test_memory_and_cross_attention_go_together(decoder: TextDecoder) -> None:
    with_memory = TextDecoder(
        width=16, depth=1, vocab_size=VOCAB, max_positions=14, heads=2
    )
    with pytest.raises(
        ValueError, match="a decoder with cross-attention needs a memory"
    ):
        with_memory(text_of([[1, 4]]))
    with pytest.raises(ValueError, match="reads no memory"):
        decoder(text_of([[1, 4]] * 3), three_memories())
    with pytest.raises(ValueError, match="a search needs a memory, or a prefix"):
        greedy_search(decoder, max_length=2)


def test_a_spec_trains_it_and_writes_with_it() -> None:
    spec = parse_spec(SPEC)
    assert check(spec).problems == []
    assert dry_run(spec).trainable > 0
    smoke(spec)  # Every parameter gets a gradient.
    torch.manual_seed(0)
    net = mplug2.compose(spec)
    batch = {
        "prompt": text_of([[2, 7], [2, 8]]),
        "text": text_of([[2, 7, 9, 3], [2, 8, 8, 3]]),
    }
    net(batch, goal="train")["loss"].backward()
    answer = net.eval()(batch, goal="predict")["answer"]
    assert answer.ids.shape[:2] == (2, 1)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        (
            "    cross_attention: false\n",
            "",
            "  logits: decoder(text)",
            "needs a memory",
        ),
        (
            "prefix=prompt, ",
            "",
            "  written: beam_search",
            "a search needs a memory, or a prefix",
        ),
    ],
)
def test_a_missing_memory_is_located(
    old: str, new: str, line: str, message: str
) -> None:
    text = SPEC.replace(old, new)
    if "prefix" not in text:
        text = text.replace("prompt: text B P, ", "")
    with pytest.raises(SpecError, match=message) as caught:
        dry_run(parse_spec(text))
    (problem,) = caught.value.problems
    assert text.splitlines()[problem.place.line - 1].startswith(line)
