"""BLEU, ROUGE-L and CIDEr-D by hand, by definition, and against pycocoevalcap on random captions."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from mplug2.metrics.caption.bleu import bleu
from mplug2.metrics.caption.cider import CiderD, Frequencies
from mplug2.metrics.caption.ngrams import ngrams
from mplug2.metrics.caption.rouge import common_subsequence, rouge_l
from registry.errors import UserError

WORDS = ["a", "dog", "the", "man", "red", "ball", "runs", "jumps", "on", "grass"]


def captions(seed: int, count: int) -> tuple[list[str], list[list[str]]]:
    draw = random.Random(seed)

    def one() -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(1, 9)))

    return [one() for _ in range(count)], [
        [one() for _ in range(draw.randint(1, 5))] for _ in range(count)
    ]


def test_ngrams() -> None:
    one, two, three, four = ngrams(["a", "dog", "a", "dog"])
    assert one == {("a",): 2, ("dog",): 2}
    assert two == {("a", "dog"): 2, ("dog", "a"): 1}
    assert three == {("a", "dog", "a"): 1, ("dog", "a", "dog"): 1}
    assert four == {("a", "dog", "a", "dog"): 1}


def test_bleu_by_hand() -> None:
    # 2 of "the" count, the reference has two; no 2-gram matches; lengths 7 and 7
    score = bleu(
        [ngrams(["the"] * 7)],
        [[ngrams(["the", "cat", "is", "on", "the", "mat", "now"])]],
    )
    assert score[0] == pytest.approx(2 / 7)
    assert score[1] < 1e-6
    short = bleu(
        [ngrams(["the", "cat"])], [[ngrams(["the", "cat", "is", "on", "the", "mat"])]]
    )
    assert short[0] == pytest.approx(math.exp(1 - 6 / 2))


def _subsequences(words: Sequence[str]) -> set[tuple[str, ...]]:
    return {
        part
        for size in range(len(words) + 1)
        for part in itertools.combinations(words, size)
    }


@pytest.mark.parametrize("seed", range(20))
def test_longest_common_subsequence_by_definition(seed: int) -> None:
    draw = random.Random(seed)
    left, right = (draw.choices("abc", k=draw.randint(0, 8)) for _ in range(2))
    assert common_subsequence(left, right) == max(
        map(len, _subsequences(left) & _subsequences(right))
    )


def test_rouge_by_hand() -> None:
    # longest common subsequence 3 of 4 said and of 6 given
    precision, recall, beta = 3 / 4, 3 / 6, 1.2
    expected = (1 + beta**2) * precision * recall / (recall + beta**2 * precision)
    said, given = (
        ["a", "man", "runs", "fast"],
        ["a", "tall", "man", "quickly", "runs", "home"],
    )
    assert rouge_l(said, [given]) == pytest.approx(expected)
    assert rouge_l([], [["a"]]) == 0


def test_cider_d_by_definition() -> None:
    """One candidate with a repeated word and another length, the formula of the paper written out."""
    references = [["red ball", "a red ball"], ["a dog"]]
    candidate = ["red", "red", "ball"]
    rarity = {"red": math.log(2), "ball": math.log(2), "a": 0.0}
    total = 0.0
    for reference in (text.split() for text in references[0]):
        weight = {word: reference.count(word) * rarity[word] for word in rarity}
        own = {word: candidate.count(word) * rarity[word] for word in rarity}
        unigram = sum(
            min(own[word], weight[word]) * weight[word] for word in rarity
        ) / (math.hypot(*own.values()) * math.hypot(*weight.values()))
        # each of the 2-grams "red red" (nowhere, rarity log 2), "red ball" and "a red" (one item, log 2)
        pairs = {tuple(reference[i : i + 2]) for i in range(len(reference) - 1)}
        bigram = 1 / (math.sqrt(2) * math.sqrt(len(pairs)))
        total += (
            (unigram + bigram)
            / 4
            * math.exp(-((len(candidate) - len(reference)) ** 2) / (2 * 6**2))
        )
    assert CiderD(references).score(["red red ball", ""]) == pytest.approx(
        [10 * total / 2, 0.0]
    )


def test_candidates_say_whose_references_they_have() -> None:
    said, given = captions(1, 6)
    scorer = CiderD(given)
    alone = scorer.score(said)
    assert scorer.score([said[4], said[0], said[4]], owner=[4, 0, 4]) == [
        alone[4],
        alone[0],
        alone[4],
    ]
    with pytest.raises(ValueError, match="longer"):
        scorer.score(said[:3])


def test_frequencies_of_the_training_captions(tmp_path: Path) -> None:
    said, given = captions(2, 8)
    everything = CiderD(given)
    everything.frequencies.save(tmp_path / "frequencies.json")
    loaded = Frequencies.load(tmp_path / "frequencies.json")
    assert loaded == everything.frequencies
    assert loaded.items == 8
    # a batch of two items, scored with the frequencies of all eight
    assert CiderD(given[:2], loaded).score(said[:2]) == everything.score(said)[:2]
    assert CiderD(given[:2]).score(said[:2]) != everything.score(said)[:2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "must be"),
        ('{"items": 0, "counts": {}}', "must be"),
        ('{"items": 2, "counts": {"a": 3}}', "from 1 to 2"),
        ("{", "no document frequencies"),
    ],
)
def test_bad_frequencies(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "frequencies.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        Frequencies.load(path)
    with pytest.raises(UserError, match="no document frequencies"):
        Frequencies.load(tmp_path / "nowhere.json")


@pytest.mark.parametrize("seed", [3, 4])
def test_pycocoevalcap_agrees(seed: int) -> None:
    pytest.importorskip("pycocoevalcap")
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    said, given = captions(seed, 60)
    theirs = (
        dict(enumerate(given)),
        {index: [text] for index, text in enumerate(said)},
    )
    grams = [ngrams(text.split()) for text in said]
    references = [[ngrams(text.split()) for text in texts] for texts in given]
    assert bleu(grams, references) == pytest.approx(
        Bleu(4).compute_score(*theirs, verbose=0)[0], abs=1e-12
    )
    assert CiderD(given).score(said) == pytest.approx(
        Cider().compute_score(*theirs)[1], abs=1e-12
    )
    own = [
        rouge_l(a.split(), [b.split() for b in texts])
        for a, texts in zip(said, given, strict=True)
    ]
    assert own == pytest.approx(Rouge().compute_score(*theirs)[1], abs=1e-12)


def test_frequencies_are_plain_json() -> None:
    data = Frequencies.of([[ngrams(["a", "dog"])], [ngrams(["a"])]]).to_json()
    assert json.loads(json.dumps(data)) == {
        "items": 2,
        "counts": {"a": 2, "dog": 1, "a dog": 1},
    }
