"""Whatever is done to a shipped spec: it builds and runs on the meta device, or a located error comes."""

from __future__ import annotations

import copy
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mutation import mutate
from small_specs import SHIPPED, TEACHER, small, writes_answers

from mplug2.build.dry_run import dry_run
from registry import Problem, SpecError, parse_spec
from registry.yaml.write import write_tree

EACH = -(-500 // len(SHIPPED))  # 500 or a few more in all
QUICK = -(-EACH // 4)
SHORT = "flow.guess=beam_search(@decoder, memory=memory, beams=2, best=2, max_length=2)"
MORE = {
    "freeze": ["vision.*stem.*"],
    "init": {"*": "own:weights.safetensors"},
    "tie": {"words.word.weight": "decoder.embedding.word.weight"},
}


def shallow(file: Path, *overrides: str) -> dict[str, Any]:
    """Return a spec as plain values, small, and with one layer where one is enough."""
    tree = small(file, *overrides).resolved()
    for entry in tree["modules"].values():
        if "depth" in entry and entry["use"] != "universal":
            entry["depth"] = 1
    return tree


def outcome(text: str, file: str) -> list[Problem]:
    """Return what is wrong with a text; nothing, if its network is built and every goal runs."""
    try:
        dry_run(parse_spec(text, file))
    except SpecError as error:
        return error.problems
    return []


@pytest.fixture(scope="module")
def good() -> Iterator[Counter[str]]:
    """How many mutants were wrong and how many valid: of all together enough, none for long."""
    began, found = time.process_time(), Counter[str]()
    yield found
    # a mutant takes 0.1 s; what another process does beside it does not count
    assert time.process_time() - began < 0.6 * found.total()
    assert found["wrong"] > found.total() / 4
    assert found["valid"] > found.total() / 20


@pytest.mark.parametrize("turns", [QUICK, pytest.param(EACH, marks=pytest.mark.slow)])
@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_mutated_shipped_specs(file: Path, turns: int, good: Counter[str]) -> None:
    chance = random.Random(file.stem)
    if writes_answers(file):
        bases = [shallow(file, SHORT), shallow(file, SHORT, *TEACHER) | MORE]
    else:
        bases = [shallow(file), shallow(file) | {"freeze": ["vision.*stem.*"]}]
    for turn in range(turns):
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
