"""Counted n-grams: probabilities that sum to one, numbers computed by hand, and a spec's own texts."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from small_specs import ROOT

from tools.text_baselines import KneserNey, main, mean_loss

VOCABULARY = 6


def random_texts(seed: int) -> list[list[int]]:
    rng = random.Random(seed)
    return [
        [0, *(rng.choice((1, 1, 1, 2, 3)) for _ in range(rng.randrange(12)))]
        for _ in range(30)
    ]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_sum_to_one_after_any_context(order: int) -> None:
    model = KneserNey(random_texts(0), order, VOCABULARY)
    for context in [
        (),
        (0,),
        (1,),
        (5,),
        (0, 1),
        (1, 1),
        (2, 5),
        (5, 1),
        (1, 2, 1),
        (3, 3, 3, 3),
    ]:
        probabilities = [
            model.probability(context, token) for token in range(VOCABULARY)
        ]
        assert sum(probabilities) == pytest.approx(1.0)
        assert min(probabilities) > 0


def test_one_token_is_discounted_by_hand() -> None:
    # 1 three times, 2 twice, 3 once: n1 = n2 = 1, so 1/3 is taken from each of them.
    model = KneserNey([[0, 1, 1, 1, 2, 2, 3]], 1, VOCABULARY)
    assert model.discounts == [pytest.approx(1 / 3)]
    left = 3 * (1 / 3) / 6 / VOCABULARY
    assert model.probability((), 1) == pytest.approx((3 - 1 / 3) / 6 + left)
    assert model.probability((), 4) == pytest.approx(left)
    assert mean_loss(model, [[0, 1, 4]]) == pytest.approx(
        -(math.log((3 - 1 / 3) / 6 + left) + math.log(left)) / 2
    )


def test_shorter_contexts_count_different_predecessors() -> None:
    # "9 8" came ten times after one token, "8" as often alone: it is likely after 9 and nowhere else.
    model = KneserNey([[0, 9, 8] * 10 + [0, 7, 5, 6, 5, 4, 5, 3, 5]], 2, 10)
    assert model.levels[0][()][8] == 1 and model.levels[0][()][5] == 4
    assert model.probability((9,), 8) > 0.9
    assert model.probability((2,), 5) > 2 * model.probability((2,), 8)


def test_longer_contexts_help_where_the_text_repeats() -> None:
    train, test = [[0, 1, 2, 3, 1, 3, 2] * 20], [[0, 1, 2, 3, 1, 3, 2]]
    losses = [
        mean_loss(KneserNey(train, order, VOCABULARY), test) for order in (1, 2, 3)
    ]
    assert losses[0] > losses[1] > losses[2]


def test_the_texts_are_those_of_a_spec(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "play.txt"
    path.write_bytes(b"to be or not to be " * 60)
    spec = str(ROOT / "configs_text/clm_bytes_tiny.yaml")
    assert main([spec, f"data.text_file={path}", "--order", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["order 1", "order 2", "order 3"]
    values = [float(line.split()[3].rstrip(",")) for line in lines]
    assert 5 < values[0] < 7 and values[2] < values[1] < values[0]
    assert main([spec, "data.text_file=nowhere.txt"]) == 2
    assert "nowhere.txt does not" in capsys.readouterr().err
