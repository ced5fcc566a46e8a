"""The one grammar of patterns: what matches, which pattern decides, and what is suggested."""

from __future__ import annotations

import pytest

from registry.language.patterns import (
    is_selected,
    may_match,
    most_specific,
    select,
    suggestion,
    unmatched,
)

NAMES = [
    "vision.stem.weight",
    "vision.stem.bias",
    "vision.head.weight",
    "text.norm.weight",
    "text2.norm.bias",
]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["vision"], NAMES[:3]),
        (["text"], [NAMES[3]]),
        (["vision.ste"], []),
        (["*.bias"], [NAMES[1], NAMES[4]]),
        (["vision.*e*"], NAMES[:3]),
        (["te*.norm"], NAMES[3:]),
        (["vision.[!h]*"], NAMES[:2]),
        (["!vision"], NAMES[3:]),
        (["!vision", "vision.head"], NAMES[2:3]),
        (["vision", "!vision.head"], NAMES[:2]),
        (["!vision.head", "vision"], NAMES[:2]),
        (["vision", "!vision.head", "vision.head.weight"], NAMES[:3]),
        (["*", "!vision", "vision.head"], NAMES[2:]),
        (["!vision", "!text"], [NAMES[4]]),
        ([], []),
    ],
)
def test_what_a_list_selects(patterns: list[str], expected: list[str]) -> None:
    assert sorted(select(patterns, NAMES)) == sorted(expected)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["vision", "vision.stem"], "vision.stem"),
        (["vision.stem", "vision"], "vision.stem"),
        (["*stem*", "vision"], "vision"),
        (["vision", "*"], "vision"),
        (["vision*", "vision"], "vision"),
        (["[v]ision", "?ision", "*"], "?ision"),
        (["!text", "*"], "*"),
        (["!text", "!text2.norm"], "!text2.norm"),
        (["!vision", "text"], None),
    ],
)
def test_the_most_specific_pattern_of_a_mapping_decides(
    patterns: list[str], expected: str | None
) -> None:
    assert most_specific(patterns, "vision.stem.weight") == expected


def test_unmatched_patterns_and_suggestions() -> None:
    assert unmatched(["vision", "!vison", "*.gamma", "!text.norm"], NAMES) == [
        "!vison",
        "*.gamma",
    ]
    assert suggestion("vision.stme", NAMES) == "did you mean 'vision.stem'?"
    assert suggestion("!vison", NAMES) == "did you mean '!vision'?"
    assert (
        suggestion("vision.zzz.zzzzzzzz", NAMES)
        == "in 'vision' there are vision.stem, vision.head"
    )
    assert suggestion("zzzzzz", NAMES) == ""


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("vision.x", True),
        ("!vision", True),
        ("vis*", True),
        ("*norm", True),
        ("visio", False),
        ("!x*", False),
    ],
)
def test_first_words_name_modules(pattern: str, expected: bool) -> None:
    assert may_match(pattern, ["vision", "text"]) is expected


def test_a_wildcard_can_match_a_module() -> None:
    assert is_selected(["vision.blocks.?"], "vision.blocks.3.attention.weight")
    assert not is_selected(["vision.blocks.?"], "vision.blocks.11.attention.weight")
