"""The entries of `tie`: chains, cycles, and what is no name of a weight."""

from __future__ import annotations

import itertools

import pytest

from registry import Registries, check, parse_spec
from registry.checks.ties import Root, roots


@pytest.mark.parametrize(
    "order", [*itertools.permutations([("a", "b"), ("b", "c"), ("d", "b")])]
)
def test_chains_end_at_one_weight_in_any_order(
    order: tuple[tuple[str, str], ...],
) -> None:
    assert roots(dict(order)) == {"a": Root("c"), "b": Root("c"), "d": Root("c")}


def test_two_transposes_are_none() -> None:
    assert roots({"a": "b.T", "b": "c.T", "d": "b"}) == {
        "a": Root("c"),
        "b": Root("c", transposed=True),
        "d": Root("c", transposed=True),
    }


@pytest.mark.parametrize(
    ("tie", "messages"),
    [
        ("{words.w.a: text.w.b, text.w.b: decoder.w}", []),
        ("{words.w.a: words.w.a}", ["`tie` has a cycle: words.w.a -> words.w.a"]),
        (
            "{text.c: words.w.a, words.w.a: text.b, text.b: words.w.a}",
            ["`tie` has a cycle: words.w.a -> text.b -> words.w.a"],
        ),
        (
            "{words: text.b}",
            ["tie must name weights, by words with dots, but has 'words'"],
        ),
        (
            "{text.b: 'words.w = 1'}",
            ["tie must name weights, by words with dots, but has 'words.w = 1'"],
        ),
        ("{words.w.a: text.w.b.T}", []),
        ("{words.w.a: words.w.a.T}", ["`tie` has a cycle: words.w.a -> words.w.a"]),
        (
            "{words.w.a.T: text.w.b}",
            ["only the right side of a tie can be transposed (got 'words.w.a.T')"],
        ),
        (
            "{text.b: wordz.w.T}",
            ["'wordz.w.T' matches nothing: there is no module 'wordz'"],
        ),
        (
            "{text.b: words..w}",
            ["tie must name weights, by words with dots, but has 'words..w'"],
        ),
    ],
)
def test_what_cannot_be_tied(
    tie: str, messages: list[str], good: str, names: Registries
) -> None:
    found = check(parse_spec(f"{good}\ntie: {tie}\n"), names)
    assert [one.message for one in found.problems] == messages
