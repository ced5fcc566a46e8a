"""What CIDEr can be had on ten clips with twenty captions each: the best of them stay below 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mplug2.metrics.caption.cider import CiderD
from mplug2.metrics.caption.ngrams import ngrams
from mplug2.metrics.caption.ptb import tokenize


def test_the_best_human_captions_of_ten_clips_have_a_cider_of_1_42(
    shared: Path,
) -> None:
    said = json.loads((shared / "data/videos/msrvtt/captions.json").read_text())
    grams = [
        [ngrams(tokenize(text).split()) for text in texts] for texts in said.values()
    ]
    scorer = CiderD.of_grams(grams)
    candidates = [one for texts in grams for one in texts]
    owner = [clip for clip, texts in enumerate(grams) for _ in texts]
    scores = scorer.score_grams(candidates, owner)
    best = [
        max(score for score, whose in zip(scores, owner, strict=True) if whose == clip)
        for clip in range(10)
    ]
    # though each stands among the references that it is measured against
    assert sum(best) / len(best) == pytest.approx(1.42, abs=0.01)
    assert max(best) < 2
