"""Messages stay readable, whatever a spec holds."""

from __future__ import annotations

from registry.errors import LONGEST, Location, Problem, visible


def test_long_words_are_cut_short_in_every_part_of_a_message() -> None:
    word = "b" * 200_000
    problem = Problem(
        Location("a.yaml", 1, 5, word), f"unknown input '{word}'", f"write `{word}`"
    )
    assert len(str(problem)) < 3 * LONGEST
    assert "unknown input 'bbb" in str(problem)


def test_usual_messages_stay_complete() -> None:
    text = f"/{'folder/' * 50}a.yaml: " + "a word " * 200
    assert visible(text) == text
