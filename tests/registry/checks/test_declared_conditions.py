"""Conditions that modules and operations declare, on specs: of this project, and of another package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import mplug2  # noqa: F401  (fills the registries)
from registry import OPERATIONS, Registries, Registry, check, parse_spec
from registry.language.declaration import Declaration

SPEC = """\
inputs: {{memory: tokens B M 32}}
modules:
  decoder: {{use: text_decoder, width: 32, depth: 1, heads: 2, vocab_size: 256, max_positions: 12}}
flow:
  guess: {call}
goals: {{predict: {{answer: guess}}}}
"""

PLUG_IN = '''
"""A package of another owner."""

from registry import operation


class Reader:
    """Read tokens."""

    inputs = {"tokens": "tokens B N width"}
    outputs = "tokens B N width"
    conditions = ("window <= size", "size % window == 0")

    def __init__(self, width: int, size: int = 8, window: int = 4) -> None: ...


@operation(
    inputs={"reader": "module", "tokens": "tokens B N width"},
    outputs="tokens B N width",
    conditions=("1 <= hops <= reader.size", "hops + skip <= 10"),
)
def hop(reader, tokens, *, hops: int = 1, skip: int = 0):
    """Hop over tokens."""
'''


def problems(call: str) -> list[tuple[int, int, str, str]]:
    report = check(parse_spec(SPEC.format(call=call)))
    return [
        (one.place.line, one.place.column, one.message, one.hint)
        for one in report.problems
    ]


@pytest.mark.parametrize("operation", ["beam_search", "sample_search", "greedy_search"])
def test_searches_fit_their_decoder(operation: str) -> None:
    good = f"{operation}(@decoder, memory=memory, min_length=0, max_length=12)"
    assert problems(good) == []
    long = f"{operation}(@decoder, memory=memory, max_length=13)"
    column = SPEC.split("\n")[4].index("{call}") + long.index("13") + 1
    ((line, at, message, hint),) = problems(long)
    assert (line, at) == (5, column)
    assert message == (
        f"{operation}: max_length must be at most decoder.max_positions (got max_length 13, "
        f"decoder.max_positions 12)"
    )
    assert hint == "max_positions of 'decoder' is 12 (set at spec.yaml:3:95)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "min_length=12, max_length=10",
            "min_length must be at most max_length (got min_length 12, ",
        ),
        (
            "min_length=11",
            "min_length must be at most max_length (got min_length 11, max_length 10)",
        ),
        ("num_beams=0", "num_beams must be at least 1 (got num_beams 0)"),
        (
            "num_beams=2, num_return_sequences=3",
            "num_return_sequences must be at most num_beams (got num_return_sequences 3, num_beams 2)",
        ),
        (
            "num_beams=5, num_beam_groups=2",
            "`num_beams % num_beam_groups == 0` must hold (got num_beams 5, num_beam_groups 2)",
        ),
        (
            "eos_token_id=256",
            (
                "eos_token_id must be less than decoder.vocab_size (got eos_token_id 256, decoder.vocab_size "
                "256)"
            ),
        ),
        (
            "max_length=0, min_length=0",
            "max_length must be at least 1 (got max_length 0)",
        ),
    ],
)
def test_beam_search(options: str, message: str) -> None:
    ((line, _, found, _),) = problems(
        f"beam_search(@decoder, memory=memory, {options})"
    )
    assert line == 5
    assert found.startswith(f"beam_search: {message}")


def test_a_default_is_compared_too() -> None:
    short = SPEC.replace("max_positions: 12", "max_positions: 6").format(
        call="beam_search(@decoder, memory=memory)"
    )
    (problem,) = check(parse_spec(short)).problems
    assert problem.message.endswith("(got max_length 10, decoder.max_positions 6)")
    assert (problem.place.line, problem.place.column) == (5, 10)


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registries:
    (tmp_path / "hopping.py").write_text(PLUG_IN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "hopping", raising=False)
    catalogue = Registries(modules=Registry("module"), operations=Registry("operation"))
    catalogue.modules.register("reader", "hopping:Reader")
    catalogue.operations.register("hop", "hopping:hop")
    return catalogue


@pytest.mark.parametrize(
    ("reader", "options", "message"),
    [
        ("", "hops=8", ""),
        (
            "",
            "hops=9",
            "hop: hops must be at most reader.size (got hops 9, reader.size 8)",
        ),
        (
            "",
            "hops=8, skip=3",
            "hop: `hops + skip <= 10` must hold (got hops 8, skip 3)",
        ),
        (
            ", size: 6",
            "hops=2",
            "module 'reader': `size % window == 0` must hold (got size 6, window 4)",
        ),
        (
            ", window: 9",
            "hops=2",
            "module 'reader': window must be at most size (got window 9, size 8)",
        ),
    ],
)
def test_of_another_package(
    plug_in: Registries, reader: str, options: str, message: str
) -> None:
    text = (
        f"inputs: {{x: tokens B N 4}}\nmodules: {{reader: {{use: reader, width: 4{reader}}}}}\n"
        f"flow:\n  y: hop(@reader, x, {options})\ngoals: {{out: {{y: y}}}}\n"
    )
    found = [problem.message for problem in check(parse_spec(text), plug_in).problems]
    assert found == ([message] if message else [])


def test_read_and_live_declarations_agree() -> None:
    live = Declaration.of(OPERATIONS.load("beam_search"))
    read = OPERATIONS.declaration("beam_search")
    assert [condition.text for condition in read.conditions] == [
        one.text for one in live.conditions
    ]
    assert len(read.conditions) > 8
