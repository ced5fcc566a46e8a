"""Top-1, top-5 and mean class accuracy against counts by loops, on random cases with ties and empty classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mplug2.metrics.class_ranking import MeanClassAccuracy, TopK
from mplug2.metrics.metric import score_rows

NAMES = ["a", "b", "c", "d", "e", "f", "g"]
NUM_CASES = 1000


def random_rows(seed: int) -> list[dict[str, Any]]:
    """Scores of few distinct values, so that many are tied, and labels that leave classes without rows."""
    rng = np.random.default_rng(seed)
    num_rows, num_classes = int(rng.integers(1, 12)), int(rng.integers(2, 8))
    rows = []
    for _ in range(num_rows):
        scores = (rng.integers(0, 5, num_classes) / 4).astype(np.float32)
        row: dict[str, Any] = {"probabilities": scores, "classes": NAMES[:num_classes]}
        row["answers"] = [NAMES[rng.integers(num_classes)]]
        row["prediction"] = NAMES[int(scores.argmax())]
        rows.append(row)
    return rows


def test_random_cases_agree_with_loops() -> None:
    for seed in range(NUM_CASES):
        rows = random_rows(seed)
        score_rows([TopK()], rows)
        ahead, by_class = [], {}
        for row in rows:
            label = NAMES.index(row["answers"][0])
            scores = row["probabilities"].tolist()
            # Of equal scores the later class is ahead.
            better = [
                score > scores[label] or (score == scores[label] and index > label)
                for index, score in enumerate(scores)
            ]
            ahead.append(sum(better))
            hits = by_class.setdefault(label, [])
            hits.append(scores.index(max(scores)) == label)
        expected = {
            "top1": sum(count < 1 for count in ahead) / len(rows),
            "top5": sum(count < 5 for count in ahead) / len(rows),
        }
        assert TopK().compute(rows) == pytest.approx(expected), seed
        means = [sum(hits) / len(hits) for hits in by_class.values()]
        measured = MeanClassAccuracy().compute(rows)["mean_class_accuracy"]
        assert measured == pytest.approx(sum(means) / len(means)), seed
