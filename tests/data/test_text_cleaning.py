"""Cleaned texts equal those recorded from the released code; a mirrored image changes left and right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mplug2.data.text_cleaning import (
    clean_caption,
    clean_question,
    mirrored_words,
    swap_sides,
)


@pytest.fixture(scope="module")
def recorded(shared: Path) -> dict:
    return json.loads((shared / "reference/parity/mplug2/data/text.json").read_text())


def test_questions_and_captions_are_cleaned_as_released(recorded: dict) -> None:
    for case in recorded["pre_question"]:
        assert clean_question(case["text"], case["max_words"]) == case["out"]
    for case in recorded["pre_caption"]:
        assert clean_caption(case["text"], case["max_words"]) == case["out"]


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        (
            "the left-most dog, on the left's right",
            "the right-most dog, on the right's left",
        ),
        ("leftmost and righthand man", "rightmost and lefthand man"),
        ("bottom left/topright, leftward", "bottom right/topleft, rightward"),
        ("Left of the RIGHT one", "Right of the LEFT one"),
        ("upright bright leftovers, copyright", "upright bright leftovers, copyright"),
    ],
)
def test_a_mirrored_phrase_changes_every_side(text: str, mirrored: str) -> None:
    assert mirrored_words(text) == mirrored
    assert mirrored_words(mirrored) == text


def test_a_pair_changes_whole_words_only() -> None:
    assert (
        swap_sides("leftmost left dog right upright")
        == "leftmost right dog left upright"
    )
