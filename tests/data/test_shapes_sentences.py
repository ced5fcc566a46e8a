"""Sentences of the shapes world: labels hold, the claim alone tells little, and all words are known."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import Any

import pytest

from mplug2.data.shapes.questions import vocabulary
from mplug2.data.shapes.sentences import KINDS, LABELS, sentence_rows
from mplug2.data.shapes.world import COLOURS, ROWS, SHAPES


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [row for index in range(600) for row in sentence_rows([0, 0, index])]


def judged(premise: str, claim: str) -> str:
    """Return the label of a pair, by reading the sentences as a person would."""
    parts = premise.split(" and ")
    partial = parts[-1] == "other shapes"
    things = []
    for part in parts[: len(parts) - partial]:
        words = part.split()
        colour = next((word for word in words if word in COLOURS), None)
        row = next((word for word in words if word in ROWS), None)
        things.append(
            {
                "shape": next(word for word in words if word in SHAPES),
                "colour": colour,
                "row": row,
            }
        )
    if match := re.fullmatch(r"there is a (\w+)( shape)?", claim):
        key = "colour" if match[2] else "shape"
        values = [thing[key] for thing in things]
        if match[1] in values:
            return "entailment"
        return "neutral" if partial or None in values else "contradiction"
    subject, value = re.fullmatch(
        r"the (\w+) (?:shape )?is (?:in the )?(\w+)(?: row)?", claim
    ).groups()  # type: ignore[union-attr]
    (thing,) = [one for one in things if subject in (one["shape"], one["colour"])]
    stated = thing["colour" if value in COLOURS else "row"]
    if stated is None:
        return "neutral"
    return "entailment" if stated == value else "contradiction"


def test_the_label_is_what_the_sentences_say(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert judged(row["sentence1"], row["sentence2"]) == row["label"], row


def test_labels_are_even_and_the_claim_alone_tells_little(
    rows: list[dict[str, Any]],
) -> None:
    assert set(Counter(row["label"] for row in rows).values()) == {
        len(rows) // len(LABELS)
    }
    by_form: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        by_form[re.sub("|".join([*COLOURS, *SHAPES, *ROWS]), "_", row["sentence2"])][
            row["label"]
        ] += 1
    right = sum(max(labels.values()) for labels in by_form.values())
    assert right / len(rows) < 0.38
    assert {row["type"] for row in rows} == set(KINDS)


def test_all_words_are_in_the_vocabulary_of_the_world(
    rows: list[dict[str, Any]],
) -> None:
    words = {
        word
        for row in rows
        for word in f"{row['sentence1']} {row['sentence2']}".split()
    }
    assert words <= set(vocabulary())


def test_the_same_seed_gives_the_same_sentences() -> None:
    assert sentence_rows([0, 1, 5]) == sentence_rows([0, 1, 5])
    assert sentence_rows([0, 1, 5]) != sentence_rows([0, 1, 6])
