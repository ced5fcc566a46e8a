"""Whatever is done to a good spec: it stays valid, or a located error comes. Never a traceback."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet
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
TURNS = 100  # mistakes for each seed
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


def cases(seeds: int) -> list[ParameterSet]:
    """Return the two files, each quickly with one seed, and slowly with many more."""
    quick = [pytest.param(file, 0, TURNS // 5) for file in ("good.yaml", "calls.yaml")]
    slow = [("good.yaml", seed) for seed in range(seeds)] + [("calls.yaml", seeds)]
    return quick + [
        pytest.param(file, seed, TURNS, marks=pytest.mark.slow) for file, seed in slow
    ]


@pytest.mark.parametrize(("file", "seed", "turns"), cases(seeds=10))
def test_mutated_specs(file: str, seed: int, turns: int, names: Registries) -> None:
    good = (PARTS / file).read_text()
    chance = random.Random(seed)
    wrong = 0
    for _ in range(turns):
        tree = parse_spec(good).tree.plain()
        for _ in range(chance.choice([1, 1, 2, 4])):
            mutate(tree, chance)
        found = problems(write_tree(tree), names)
        wrong += bool(found)
        for problem in found:
            assert problem.place.line > 0
            assert problem.place.column > 0
            assert "\n" not in problem.message
    assert wrong > turns / 2


@pytest.mark.parametrize(("file", "seed", "turns"), cases(seeds=5))
def test_garbled_texts(file: str, seed: int, turns: int, names: Registries) -> None:
    good = (PARTS / file).read_text()
    chance = random.Random(seed)
    for _ in range(turns):
        text = list(good)
        for _ in range(chance.choice([1, 2, 8])):
            text[chance.randrange(len(text))] = chance.choice(GARBAGE)
        for problem in problems("".join(text), names):
            assert problem.place.column > 0
