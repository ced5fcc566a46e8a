"""Whatever is done to a good spec: it stays valid, or a located error comes. Never a traceback."""

from __future__ import annotations

import random
from typing import Any

import pytest

from registry import Catalogue, Problem, SpecError, check, parse_spec, plan, shadowed_modules, write_spec
from registry.writing import write_tree

VALUES: list[Any] = [
    *(None, True, 0, -1, 3, 1.5, 10**17, "", "x", "loss", "ema", "@decoder", "frames B 3 T H W", "text Q L"),
    *("words(question)", "f(", "take(memory, owner)", "ema(loss)", [], ["a", 3], {}, {"use": "fusion"}, [[]]),
    *("lm_loss(logits, target=answer, alpha=ema(logits))", "concat()", "'", "\t", "é\u2028", "a: b", "*"),
]

GARBAGE = ["", *"\n\t:{}[]'\"#&*!%-\x07|>,\u2028\r?"]


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all keys and list positions."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    found = []
    for key, value in items:
        found += [(*path, key), *places(value, (*path, key))]
    return found


def mutate(tree: dict[str, Any], chance: random.Random) -> None:
    """Drop, rename, swap or retype one place."""
    path = chance.choice(places(tree))
    parent: Any = tree
    for key in path[:-1]:
        parent = parent[key]
    key, action = path[-1], chance.choice(["drop", "rename", "swap", "retype", "garble"])
    if action == "drop":
        del parent[key]
    elif action == "rename" and isinstance(parent, dict):
        parent[chance.choice([str(key) + "x", str(key)[:-1], "use", "loss", "vision", ""])] = parent.pop(key)
    elif action == "swap":
        other = chance.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
        parent[key], parent[other] = parent[other], parent[key]
    elif action == "garble" and isinstance(parent[key], str) and parent[key]:
        at = chance.randrange(len(parent[key]))
        parent[key] = (
            parent[key][:at]
            + chance.choice(["", "(", ")", "@", ".", ",", "=", " ", "Q"])
            + parent[key][at + 1 :]
        )
    else:
        parent[key] = chance.choice(VALUES)


def problems(text: str, names: Catalogue) -> list[Problem]:
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


@pytest.mark.parametrize("seed", range(10))
def test_mutated_specs(seed: int, good: str, names: Catalogue) -> None:
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


@pytest.mark.parametrize("seed", range(5))
def test_garbled_texts(seed: int, good: str, names: Catalogue) -> None:
    chance = random.Random(seed)
    for _ in range(60):
        text = list(good)
        for _ in range(chance.choice([1, 2, 8])):
            text[chance.randrange(len(text))] = chance.choice(GARBAGE)
        for problem in problems("".join(text), names):
            assert problem.place.column > 0
