"""Whatever is done to a good spec: it stays valid, or a located error comes. Never a traceback."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from mutation import mutate

from registry import (
    Problem,
    Registries,
    SpecError,
    check,
    parse_spec,
    plan,
    shadowed_modules,
    write_spec,
)
from registry.yaml.write import write_tree

PARTS = Path(__file__).parent / "parts"
GARBAGE = ["", *"\n\t:{}[]'\"#&*!%-\x07|>,\u2028\r?"]


def problems(text: str, names: Registries) -> list[Problem]:
    """Return what is wrong with a text; a valid one is planned, written and read back."""
    try:
        spec = parse_spec(text)
        check(spec, names).raise_if_bad()
    except SpecError as error:
        assert str(error)
        return error.problems
    for goal in spec.goals:
        plan(spec, goal, (), names)
    shadowed_modules(spec, names)
    assert parse_spec(write_spec(spec)) == spec
    return []


@pytest.mark.parametrize(
    ("file", "seed"), [("good.yaml", n) for n in range(10)] + [("calls.yaml", 10)]
)
def test_mutated_specs(file: str, seed: int, names: Registries) -> None:
    good = (PARTS / file).read_text()
    chance = random.Random(seed)
    wrong = 0
    for _ in range(100):
        tree = parse_spec(good).tree.plain()
        for _ in range(chance.choice([1, 1, 2, 4])):
            mutate(tree, chance)
        found = problems(write_tree(tree), names)
        wrong += bool(found)
        for problem in found:
            assert problem.place.line > 0
            assert problem.place.column > 0
            assert "\n" not in problem.message
    assert wrong > 50


@pytest.mark.parametrize(
    ("file", "seed"), [("good.yaml", n) for n in range(5)] + [("calls.yaml", 5)]
)
def test_garbled_texts(file: str, seed: int, names: Registries) -> None:
    good = (PARTS / file).read_text()
    chance = random.Random(seed)
    for _ in range(60):
        text = list(good)
        for _ in range(chance.choice([1, 2, 8])):
            text[chance.randrange(len(text))] = chance.choice(GARBAGE)
        for problem in problems("".join(text), names):
            assert problem.place.column > 0
