"""VQA accuracy: agreement with ten annotators, after the normalization of the published evaluation."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_NUMBERS = "zero one two three four five six seven eight nine ten"
_WORDS = {word: str(value) for value, word in enumerate(_NUMBERS.split())}
_WORDS |= {"none": "0", "a": "", "an": "", "the": ""}
_CONTRACTED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd
    he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't mightn't've must've
    mustn't needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've
    somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's something'd
    something'd've something'll that's there'd there'd've there're there's they'd they'd've they'll they're
    they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's where'd where's where've
    who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've y'all
    y'all'd've y'all'll you'd you'd've you'll you're you've
"""


def _slips() -> dict[str, str]:
    """Every contraction by its spellings that lack one apostrophe."""
    slips = {
        "somebody'd": "somebodyd"
    }  # the other way round in the published list, and so here
    for word in _CONTRACTED.split():
        for place in (match.start() for match in re.finditer("'", word)):
            slips[word[:place] + word[place + 1 :]] = word
    return slips


_SLIPS = _slips()
_DIGIT_COMMA = re.compile(r"\d,\d")
_LOOSE_PERIOD = re.compile(r"\.(?!\d)")


def normalise(answer: str) -> str:
    """Return an answer as VQA's published evaluation compares it (arXiv 1505.00468 and the evaluation page).

    Lower case; number words up to ten are digits; no articles; contractions have their apostrophes; a period
    stays only before a digit. Other punctuation but the apostrophe and the colon is removed: next to a space,
    or if a comma is between digits anywhere in the answer, without a replacement, else for a space.
    """
    plain = answer.replace("\n", " ").replace("\t", " ").strip()
    grouped = _DIGIT_COMMA.search(plain) is not None
    said = plain
    for mark in _PUNCTUATION:
        loose = grouped or f"{mark} " in plain or f" {mark}" in plain
        said = said.replace(mark, "" if loose else " ")
    words = (
        _WORDS.get(word, word) for word in _LOOSE_PERIOD.sub("", said).lower().split()
    )
    return " ".join(_SLIPS.get(word, word) for word in words if word)


def vqa_score(answer: str, votes: Mapping[str, float]) -> float:
    """Return what an answer is worth, from 0 to 1: each human answer is left out once, and three others that
    agree with it are enough.

    ``votes`` is the number of annotators who gave each answer, at least one. Both sides are normalised, or,
    if all annotators gave the same answer, neither (as later releases of the evaluation have it; the first
    always normalised the prediction).
    """
    if len(votes) > 1:
        answer = normalise(answer)
    counts: Counter[str] = Counter()
    for said, count in votes.items():
        counts[normalise(said) if len(votes) > 1 else said.strip()] += max(
            1, round(count)
        )
    people, agreeing = sum(counts.values()), counts[answer.strip()]
    left_out = agreeing * min(1.0, (agreeing - 1) / 3) + (people - agreeing) * min(
        1.0, agreeing / 3
    )
    return left_out / people


class VqaAccuracy:
    """VQA accuracy over questions, and by type of answer if the records have it (yes/no, number, other).

    Questions without answers (test splits) are not counted.
    """

    inputs = {"answer": "sequences Q n"}
    outputs = {
        "vqa_accuracy": "scalar",
        "vqa_accuracy_yes_no?": "scalar",
        "vqa_accuracy_number?": "scalar",
        "vqa_accuracy_other?": "scalar",
    }

    def score_row(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return ``{"vqa_score": 0 to 1}``; 0 for a file that could not be decoded (``bad``)."""
        answers = row["answers"]
        if not answers:
            return {}
        # A question whose answers all agree has no counts: any number above three gives the same score.
        counts = row.get("counts") or [10]
        votes = dict(zip(answers, counts, strict=True))
        return {
            "vqa_score": 0.0 if row.get("bad") else vqa_score(row["prediction"], votes)
        }

    def compute(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``{"vqa_accuracy": mean, "vqa_accuracy_yes_no": ..., ...}``, not a number without answers."""
        groups: dict[str, list[float]] = defaultdict(list)
        for row in rows:
            if "vqa_score" in row:
                groups["vqa_accuracy"].append(row["vqa_score"])
                if row.get("type"):
                    kind = re.sub(r"[^a-z0-9]+", "_", str(row["type"]).lower())
                    groups[f"vqa_accuracy_{kind}"].append(row["vqa_score"])
        means = {name: sum(groups[name]) / len(groups[name]) for name in sorted(groups)}
        return {"vqa_accuracy": means.pop("vqa_accuracy", math.nan), **means}


class VqaLabelAccuracy(VqaAccuracy):
    """VQA accuracy of networks that choose an answer of a list: the most probable class is the answer."""

    inputs = {"label": "logits Q classes"}
    outputs = {
        "vqa_label_accuracy": "scalar",
        "vqa_label_accuracy_yes_no?": "scalar",
        "vqa_label_accuracy_number?": "scalar",
        "vqa_label_accuracy_other?": "scalar",
    }

    def compute(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``{"vqa_label_accuracy": mean, "vqa_label_accuracy_yes_no": ..., ...}``, NaN without answers."""
        values = super().compute(rows)
        return {
            name.replace("vqa_", "vqa_label_", 1): value
            for name, value in values.items()
        }
