"""Whatever is done to a shipped spec: it builds and runs on the meta device, or a located error comes."""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mutation import mutate
from small_specs import SHIPPED, TEACHER, representatives, small, writes_answers
from torch.nn.modules.module import (
    register_module_forward_pre_hook,
    register_module_module_registration_hook,
)

from mplug2.build.dry_run import dry_run
from registry import Problem, SpecError, parse_spec
from registry.yaml.write import write_tree

EACH = -(-500 // len(SHIPPED))  # 500 or a few more in all
QUICK = -(-EACH // 4)
CASES = [
    pytest.param(file, EACH, id=file.stem, marks=pytest.mark.slow) for file in SHIPPED
]
CASES += [
    pytest.param(file, QUICK, id=f"{file.stem}, quick")
    for file in representatives(SHIPPED)
]
SHORT = "flow.guess=beam_search(@decoder, memory=memory, num_beams=2, num_return_sequences=2, max_length=2)"
MORE = {
    "freeze": ["vision.*stem.*"],
    "init": {"*": "checkpoint:weights.safetensors"},
    "tie": {"text_embedding.word.weight": "decoder.embedding.word.weight"},
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
    """Count wrong and valid mutants: there must be enough of both."""
    counts = Counter[str]()
    yield counts
    assert counts["wrong"] > counts.total() / 4
    assert counts["valid"] > counts.total() / 20


@pytest.fixture
def layers() -> Iterator[Counter[str]]:
    """Count the layers that are built and called: what a dry run works on."""
    counts = Counter[str]()

    def built(*_: object) -> None:
        counts["built"] += 1

    def called(*_: object) -> None:
        counts["called"] += 1

    hooks = [
        register_module_module_registration_hook(built),
        register_module_forward_pre_hook(called),
    ]
    yield counts
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize(("file", "turns"), CASES)
def test_mutated_shipped_specs(
    file: Path, turns: int, good: Counter[str], layers: Counter[str]
) -> None:
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
        layers.clear()
        problems = outcome(text, "mutant.yaml")
        assert layers.total() < 4000, (
            text
        )  # no more than 2,200, in the specs of pre-training
        good["wrong" if problems else "valid"] += 1
        for problem in problems:
            assert problem.place.file == "mutant.yaml", text
            assert problem.place.line > 0, text
            assert problem.place.column > 0, text
            assert "\n" not in problem.message, text
