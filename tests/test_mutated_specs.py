"""Whatever is done to a shipped spec: it builds and runs on the meta device, or a located error comes."""

from __future__ import annotations

import copy
import random
import time
from pathlib import Path
from typing import Any

import pytest
from small_specs import SHIPPED, TEACHER, small, writes_answers

from mplug2.dryrun import dry_run
from registry import Problem, SpecError, parse_spec
from registry.writing import write_tree

EACH = -(-550 // len(SHIPPED))
VALUES: list[Any] = [
    *(None, True, 0, -1, 3, 1.5, 10**17, "", "x", "loss", "ema", "@decoder", "frames B 3 T H W", "text Q L"),
    *("words(question)", "f(", "take(memory, owner)", "ema(loss)", [], ["a", 3], {}, {"use": "fusion"}, [[]]),
    *("text", "vision", "all", "*", "vision.*", "decoder.embedding.word.weight", "own:nothing"),
]
SHORT = "flow.guess=beam_search(@decoder, memory=memory, beams=2, best=2, max_length=2)"
MORE = {
    "freeze": ["vision.stem"],
    "init": {"*": "own:weights.safetensors"},
    "tie": {"words.word.weight": "decoder.embedding.word.weight"},
}


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all keys and list positions."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    found = []
    for key, value in items:
        found += [(*path, key), *places(value, (*path, key))]
    return found


def mutate(tree: dict[str, Any], chance: random.Random) -> None:
    """Drop, rename, swap or retype one key or value."""
    path = chance.choice(places(tree))
    parent: Any = tree
    for key in path[:-1]:
        parent = parent[key]
    key, action = path[-1], chance.choice(["drop", "rename", "swap", "retype", "near"])
    if action == "drop":
        del parent[key]
    elif action == "rename" and isinstance(parent, dict):
        parent[chance.choice([f"{key}x", str(key)[:-1], "use", "loss", "vision", "depth"])] = parent.pop(key)
    elif action == "swap":
        other = chance.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
        parent[key], parent[other] = parent[other], parent[key]
    elif action == "near" and isinstance(parent[key], int | float) and not isinstance(parent[key], bool):
        parent[key] = chance.choice([parent[key] + 1, parent[key] - 1, parent[key] * 2, -parent[key]])
    else:
        parent[key] = chance.choice(VALUES)


def outcome(text: str, file: str) -> list[Problem]:
    """Return what is wrong with a text; nothing, if its network is built and every goal runs."""
    try:
        dry_run(parse_spec(text, file))
    except SpecError as error:
        return error.problems
    return []


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_mutated_shipped_specs(file: Path) -> None:
    chance, began = random.Random(file.stem), time.process_time()
    good = {"wrong": 0, "valid": 0}
    if writes_answers(file):
        bases = [small(file, SHORT).resolved(), small(file, SHORT, *TEACHER).resolved() | MORE]
    else:
        bases = [small(file).resolved(), small(file).resolved() | {"freeze": ["vision.stem"]}]
    for turn in range(EACH):
        tree = copy.deepcopy(bases[turn % 2])
        for _ in range(chance.choice([1, 1, 2, 4])):
            mutate(tree, chance)
        text = write_tree(tree)
        found = outcome(text, "mutant.yaml")
        good["wrong" if found else "valid"] += 1
        for problem in found:
            assert problem.place.file == "mutant.yaml", text
            assert problem.place.line > 0, text
            assert problem.place.column > 0, text
            assert "\n" not in problem.message, text
    assert good["wrong"] > EACH / 4
    assert good["valid"] > EACH / 20
    assert time.process_time() - began < 60 / len(SHIPPED), "all together must take under a minute"
