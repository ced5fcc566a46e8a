"""Conditions: how they are read, when they hold, and how messages word them."""

from __future__ import annotations

import pytest

from registry.language.conditions import read_conditions


def holds(text: str, **values: object) -> bool:
    return all(condition.holds(values) for condition in read_conditions([text]))


def test_comparisons_hold_or_not() -> None:
    assert holds("low <= high", low=2, high=2)
    assert not holds("low <= high", low=3, high=2)
    assert holds("beams % groups == 0", beams=6, groups=3)
    assert not holds("beams % groups == 0", beams=6, groups=4)
    assert not holds("size + 1 <= limit", size=4, limit=4)
    assert not holds("0 < share <= 1", share=0)
    assert not holds("0 < share <= 1", share=1.5)
    assert holds("share != 1", share=0.5)


def test_a_name_without_a_number_breaks_nothing() -> None:
    assert holds("low <= high", low=3)
    assert holds("low <= high", low=3, high=None)
    assert holds("low <= high", low=3, high="many")
    assert holds("low <= high", low=3, high=True)
    assert holds("beams % groups == 0", beams=3, groups=0)


def test_module_arguments_are_names_with_a_dot() -> None:
    (condition,) = read_conditions(["words <= decoder.positions"])
    assert condition.names == ["words", "decoder.positions"]
    assert condition.holds({"words": 3, "decoder.positions": 3})
    assert not condition.holds({"words": 4, "decoder.positions": 3})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("low <= high", ["low must be at most high"]),
        ("1 <= low <= high", ["low must be at least 1", "low must be at most high"]),
        ("0 < low", ["low must be more than 0"]),
        ("low < 5", ["low must be less than 5"]),
        ("low == high", ["low must be equal to high"]),
        ("low != high", ["low must be different from high"]),
        ("beams % groups == 0", ["`beams % groups == 0` must hold"]),
        ("words <= decoder.positions", ["words must be at most decoder.positions"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert [condition.in_words() for condition in read_conditions([text])] == words


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("low", "must compare numbers"),
        ("low <=", "cannot be read"),
        ("low in high", "must use one of <=, >=, <, >, == and !="),
        ("len(low) > 1", "must consist of names, numbers"),
        ("low <= 'high'", "must consist of names, numbers"),
        ("low ** 2 <= 4", "must consist of names, numbers"),
    ],
)
def test_other_forms_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        read_conditions([text])
