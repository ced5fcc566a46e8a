"""The metrics of an evaluation agree with those of files; of what cannot be decoded nothing was said."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from mplug2.metrics.caption import java
from mplug2.metrics.caption.exact import ExactMatch
from mplug2.metrics.caption.metrics import Bleu, Cider, Meteor, RougeL
from mplug2.metrics.caption.scores import caption_scores
from mplug2.metrics.metric import load_metric, score_rows
from registry.errors import UserError

ROWS = [
    {"prediction": "A dog runs.", "references": ["a dog is running", "The dog runs!"]},
    {"prediction": "a man's hat", "references": ["a man in a hat"]},
    {"prediction": "nonsense", "references": ["a red ball"], "bad": "no frames"},
]


def test_they_agree_with_the_scores_of_files() -> None:
    said = {
        str(i): "" if row.get("bad") else str(row["prediction"])
        for i, row in enumerate(ROWS)
    }
    given = {str(i): list(row["references"]) for i, row in enumerate(ROWS)}
    expected = caption_scores(said, given, with_java=False).values
    values: dict[str, float] = {}
    for name in ("cider", "bleu4", "rouge_l"):
        metric = load_metric(name)
        rows = [dict(row) for row in ROWS]
        score_rows([metric], rows)
        found = metric.compute(rows)
        assert next(iter(found)) == name, (
            "the main value carries the metric's name, for train.best_metric"
        )
        values |= found
    assert values["cider"] == pytest.approx(expected["CIDEr"])
    assert values["rouge_l"] == pytest.approx(expected["ROUGE-L"])
    for order in range(1, 5):
        assert values[f"bleu{order}"] == pytest.approx(expected[f"BLEU-{order}"])


@pytest.mark.parametrize("judge", [Cider(), Bleu(), RougeL(), ExactMatch()])
def test_no_rows_no_number(judge: Cider | Bleu | RougeL | ExactMatch) -> None:
    assert all(math.isnan(value) for value in judge.compute([]).values())


def test_meteor_asks_for_java_before_anything_is_evaluated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="needs Java"):
        Meteor()


def test_an_exact_match_ignores_case_and_punctuation_but_no_word() -> None:
    judge = ExactMatch()
    rows = [
        {"prediction": "a dog runs", "references": ["Two dogs.", "A dog runs!"]},
        {"prediction": "a dog", "references": ["a dog runs"]},
        {"prediction": "a dog", "references": ["a dog"], "bad": "no frames"},
    ]
    assert judge.compute([row | judge.score_row(row) for row in rows]) == {
        "exact_match": pytest.approx(1 / 3)
    }


def test_a_java_that_fails_costs_meteor_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> float:
        raise java.Unavailable("METEOR's Java program failed: no memory")

    monkeypatch.setattr(java, "require_java", lambda metric: Path())
    monkeypatch.setattr(java, "meteor", fails)
    (value,) = (
        Meteor().compute([{"prediction": "a dog", "references": ["a dog"]}]).values()
    )
    assert math.isnan(value)
    assert "METEOR's Java program failed: no memory" in caplog.text
